// What a page cannot do without a script: take Airflow's dark mode over, look again, open links out of a frame, act.
(function () {
  "use strict";
  var root = document.documentElement, airflow = null, tag = "", page, note;
  try { if (window.parent !== window) airflow = window.parent.document; } catch (error) { /* of another origin */ }
  function dress() {
    var dark = airflow.documentElement.classList.contains("dark");
    root.classList.add("embedded");
    root.classList.toggle("dark", dark);
    root.classList.toggle("light", !dark);
  }
  if (airflow) {
    dress();
    new MutationObserver(dress).observe(airflow.documentElement, { attributes: true, attributeFilter: ["class"] });
  }
  // Airflow 3.0 keeps its token here and not in a cookie.
  function token() { return (localStorage.getItem("token") || "").replace(/^"|"$/g, ""); }
  function ask(url, more) {
    var told = token();
    function go(headers) { return fetch(url, Object.assign({ credentials: "same-origin", cache: "no-store" }, more, { headers: headers })); }
    if (!told) return go(more.headers);
    return go(Object.assign({ Authorization: "Bearer " + told }, more.headers)).then(function (answer) {
      return answer.status === 401 ? go(more.headers) : answer;  // of an older Airflow, where the cookie counts by now
    });
  }
  function every() { return page.firstElementChild ? Number(page.firstElementChild.dataset.every || 0) : 1; }
  function show(html) {
    var open = Array.from(page.querySelectorAll("details[id]"), function (each) { return [each.id, each.open]; });
    var focus = document.activeElement && document.activeElement.id;
    page.innerHTML = html;
    open.forEach(function (each) { var one = document.getElementById(each[0]); if (one) one.open = each[1]; });
    if (focus && document.getElementById(focus)) document.getElementById(focus).focus({ preventScroll: true });
  }
  function look() {
    if (document.hidden) return later();
    ask(page.dataset.src + location.search, { headers: tag ? { "If-None-Match": tag } : {} }).then(function (answer) {
      if (answer.status !== 304 && !answer.ok) throw new Error(answer.status === 401 ? "Log in to Airflow again." : "Airflow answered " + answer.status + ".");
      if (note.dataset.old) { note.textContent = ""; delete note.dataset.old; }
      tag = answer.headers.get("ETag") || "";
      return answer.status === 304 ? null : answer.text().then(show);
    }).catch(function (error) { note.textContent = error.message + " What is shown may be old."; note.dataset.old = "1"; }).then(later);
  }
  function later() { if (every()) setTimeout(look, 1000 * every()); }
  document.addEventListener("DOMContentLoaded", function () {
    page = document.getElementById("page");
    note = document.getElementById("note");
    if (page && page.dataset.src) { if (page.firstElementChild) later(); else look(); }
  });
  function follow(link, href, name) {
    var place = airflow || document, copy = place.importNode(link, false);
    copy.href = href;
    copy.dataset.followed = "1";
    if (name) copy.download = name;
    place.body.append(copy);
    copy.click();
    copy.remove();
  }
  document.addEventListener("click", function (event) {
    var link = event.target.closest && event.target.closest("a[target=_blank], a[download]");
    // Of web addresses alone: what a policy forbids here, Airflow's document would do.
    if (!link || link.dataset.followed || !/^https?:$/.test(link.protocol)) return;
    var saves = link.hasAttribute("download") && token();  // a browser would ask without it
    if (!airflow && !saves) return;
    event.preventDefault();  // Airflow's frame opens no window and may save no file: its document may
    if (!saves) return follow(link, link.href);
    ask(link.href, { headers: {} }).then(function (answer) {
      if (!answer.ok) throw new Error("Airflow answered " + answer.status + ".");
      return answer.blob();
    }).then(function (blob) {
      var url = URL.createObjectURL(blob);
      follow(link, url, link.pathname.split("/").pop());
      setTimeout(function () { URL.revokeObjectURL(url); }, 60000);
    }).catch(function (error) { note.textContent = error.message; });
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method !== "post" || !form.dataset.act) return;
    event.preventDefault();
    form.querySelector("button").disabled = true;
    ask(form.action, { method: "POST", headers: { "X-Airflow-Spot": form.dataset.act } }).then(function (answer) {
      return answer.text().then(function (text) { note.textContent = text.slice(0, 400) || (answer.ok ? "Asked for." : "Airflow answered " + answer.status + "."); });
    }).catch(function (error) { note.textContent = error.message; });
  });
})();
