"""WebShop as an engine of our own: the reference's pages, actions, goals, search and reward, on its data formats."""

from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.tasks import WebShopTasks, webshop

__all__ = ["WebShopEnv", "WebShopTasks", "webshop"]
