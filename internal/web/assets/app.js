// Keeps the page live: the event stream says that there is something new, and the part that changes is fetched anew.
// Without this script the page is the same, as of the time it was loaded.
'use strict';
(() => {
  const main = document.getElementById('main');
  const live = document.getElementById('live');
  const link = document.getElementById('link');
  const at = document.getElementById('at');
  const announce = document.getElementById('announce');

  const url = new URL(location.href);
  url.hash = '';
  url.searchParams.set('fragment', '1');

  let shown = null; // the fragment on the page, as text
  let busy = false;
  let again = false; // asked for while busy

  function state(name, words) {
    live.className = 'live ' + name;
    link.textContent = words;
  }

  function asOf(iso) {
    const t = new Date(iso);
    if (isNaN(t)) return;
    const f = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZone: 'UTC' };
    at.dateTime = iso;
    at.textContent = new Intl.DateTimeFormat('en-GB', f).format(t) + ' UTC';
  }

  // replace puts the fragment in place and leaves the reader where he was: focus, what he typed, open folds, scrolling.
  function replace(text) {
    const active = main.contains(document.activeElement) ? document.activeElement : null;
    const href = active && active.getAttribute('href');
    const typed = document.getElementById('q');
    const query = typed && { value: typed.value, from: typed.selectionStart, to: typed.selectionEnd };
    const folds = new Map([...main.querySelectorAll('details[id]')].map(d => [d.id, d.open]));
    const scrolled = new Map([...main.querySelectorAll('.wide[id]')].map(d => [d.id, d.scrollLeft]));
    const headline = main.querySelector('h1')?.textContent;

    const doc = new DOMParser().parseFromString(text, 'text/html');
    main.replaceChildren(...doc.body.childNodes);

    for (const [id, open] of folds) {
      const d = document.getElementById(id);
      if (d) d.open = open;
    }
    for (const [id, left] of scrolled) {
      const d = document.getElementById(id);
      if (d) d.scrollLeft = left;
    }
    const q = document.getElementById('q');
    if (q && query) q.value = query.value;
    if (active) {
      const to = (active.id && document.getElementById(active.id)) ||
        (href && [...main.querySelectorAll('a')].find(a => a.getAttribute('href') === href));
      if (to) to.focus({ preventScroll: true });
      if (to && to === q) q.setSelectionRange(query.from, query.to);
    }
    const now = main.querySelector('h1')?.textContent;
    if (now !== headline) announce.textContent = now;
  }

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const r = await fetch(url);
      if (!r.ok) throw new Error(r.statusText);
      const text = await r.text();
      if (text !== shown) replace(text);
      shown = text;
    } catch {
      state('lost', 'connection lost, as of');
    } finally {
      busy = false;
      if (again) {
        again = false;
        setTimeout(refresh, 1000);
      }
    }
  }

  function connect() {
    const stream = new EventSource('/api/v1/stream?events=view');
    stream.onopen = () => {
      state('on', 'live,');
      refresh();
    };
    stream.addEventListener('view', e => {
      asOf(JSON.parse(e.data).at);
      state('on', 'live,');
      refresh();
    });
    stream.onerror = () => {
      state('lost', 'connection lost, as of');
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 15000); // refused: the browser will not try again
    };
  }

  connect();
  setInterval(refresh, 30000); // an engine that stands still sends no events, and the page must say so
})();
