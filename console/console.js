"use strict";
// The page is made by the server, whole. This script asks for it again every second and puts the parts that live in place of
// the old ones; forms stay, so that nothing is lost that is being typed.
(() => {
  const every = 1000;
  const lost = document.getElementById("lost");
  const notice = document.getElementById("notice");
  const here = location.pathname;
  let failures = 0;

  function databases(doc) {
    return [...doc.querySelectorAll("[data-database]")].map((e) => e.dataset.database).join("\n");
  }

  function show(doc) {
    if (databases(doc) !== databases(document)) {
      location.replace(here); // databases were added or removed: the forms are others, too
      return;
    }
    document.title = doc.title;
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = doc.getElementById(old.id);
      if (now && now.outerHTML !== old.outerHTML && !old.contains(document.activeElement)) {
        old.className = now.className;
        old.replaceChildren(...now.childNodes);
      }
    }
  }

  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(here, { cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (!answer.ok) throw new Error("HTTP " + answer.status);
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        failures = 0;
      } catch (error) {
        failures++;
        lost.textContent = "The process does not answer (" + error.message + "). What you see is old.";
      }
      lost.hidden = failures < 2;
      document.body.classList.toggle("stale", failures >= 2);
    }
    setTimeout(refresh, every);
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    event.preventDefault();
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
    const button = event.submitter;
    const fields = new URLSearchParams(new FormData(form));
    if (button && button.name) fields.set(button.name, button.value);
    if (button) button.disabled = true;
    let said = { ok: false, text: "" };
    try {
      const answer = await fetch(here, { method: "POST", body: fields, headers: { Accept: "application/json" } });
      said = await answer.json();
    } catch (error) {
      said.text = "not known whether it was done: " + error.message;
    }
    if (button) {
      button.disabled = false;
      button.blur();
    }
    notice.textContent = said.text;
    notice.className = "notice " + (said.ok ? "good" : "bad");
    notice.hidden = false;
  });

  setTimeout(refresh, every);
})();
