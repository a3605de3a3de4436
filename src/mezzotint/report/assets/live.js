// A page that is served asks for what is new and exchanges those sections alone. What the reader has opened, scrolled or
// focused stays as it is; a section whose values are just being read waits.
(() => {
  const PAUSE = 2000;
  const known = {};
  let note = null;

  const say = (text, gone) => {
    if (note.textContent === text) return;
    note.textContent = text;
    note.classList.toggle("gone", gone);
  };
  const focusable = (part) => [...part.querySelectorAll("a, button, summary, [tabindex]")];
  const read = async (path) => {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  };

  const busy = (part) => {
    const chosen = getSelection();
    return window.mezzotint.reading(part) || (!chosen.isCollapsed && part.contains(chosen.anchorNode));
  };
  const exchange = (part, text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    const places = [...part.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focus = focusable(part).indexOf(document.activeElement);
    part.replaceChildren(...fresh.childNodes);
    window.mezzotint.setUp(part);
    [...part.querySelectorAll("details")].forEach((one, index) => { one.open = open[index] || false; });
    [...part.querySelectorAll(".scroll, pre")].forEach((one, index) => {
      if (places[index]) [one.scrollLeft, one.scrollTop] = places[index];
    });
    if (focus >= 0) focusable(part)[focus]?.focus({ preventScroll: true });
  };

  const look = async () => {
    if (document.hidden) return;
    try {
      const state = await (await read("/state")).json();
      for (const [key, digest] of Object.entries(state.parts)) {
        const part = document.getElementById(key);
        if (!part || known[key] === digest || busy(part)) continue;
        if (known[key] !== undefined || state.version !== document.body.dataset.live) exchange(part, await (await read(`/part/${key}`)).text());
        known[key] = digest;
      }
      say("live", false);
    } catch {
      say("server has ended", true);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    note = document.createElement("span");
    note.id = "live";
    note.setAttribute("role", "status");
    document.getElementById("theme").before(note);
    const again = async () => { await look(); setTimeout(again, PAUSE); };
    again();
    document.addEventListener("visibilitychange", look);
  });
})();
