"""Collection: text episodes by the one verb `extend`, as Rollouts, with the texts kept beside them."""
