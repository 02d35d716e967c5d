(function () {
  "use strict";
  var box = document.getElementById("filters");
  if (!box) { return; }
  var items = Array.prototype.slice.call(document.querySelectorAll("[data-claim]"));
  var shown = document.getElementById("shown");
  var total = document.querySelectorAll("tr[data-claim]").length;
  function value(name) { return document.getElementById("filter-" + name).value; }
  function apply() {
    var paper = value("paper"), verdict = value("verdict"), words = value("text").toLowerCase(), rows = 0;
    items.forEach(function (item) {
      var keep = (!paper || item.dataset.paper === paper) && (!verdict || item.dataset.verdict === verdict)
        && (!words || item.textContent.toLowerCase().indexOf(words) >= 0);
      item.hidden = !keep;
      if (keep && item.tagName === "TR") { rows += 1; }
    });
    shown.textContent = rows + " of " + total + " claims";
  }
  box.addEventListener("input", apply);
  box.hidden = false;
  apply();
}());
