"use strict";
(() => {
  const root = document.documentElement;

  // The theme: what the system says, or what the reader chose. A page opened from a file may have no storage.
  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("geonp-theme"); } catch { return null; } };
  const wear = (theme) => {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    button.querySelector("span").textContent = theme;
    try { localStorage.setItem("geonp-theme", theme); } catch { /* shown, not kept */ }
  };
  let theme = themes.includes(stored()) ? stored() : "system";
  wear(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    wear(theme);
  });

  // Which section is being read.
  const links = [...document.querySelectorAll("nav a")];
  if ("IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links) {
          if (link.hash === "#" + entry.target.id) link.setAttribute("aria-current", "true");
          else link.removeAttribute("aria-current");
        }
      }
    }, { rootMargin: "-20% 0px -75% 0px" });
    document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
  }

  const viewer = document.getElementById("viewer");
  if (!viewer) return;
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const stage = viewer.querySelector(".stage");
  const state = document.getElementById("viewer-state");
  const part = (role) => viewer.querySelector(`[data-role="${role}"]`);
  const [layer, left, right, legend] = ["layer", "left", "right", "legend"].map(part);
  const CLOSEST = 32;
  const at = { view: "grid", scale: 1, x: 0.5, y: 0.5, swipe: 50 };
  let handle = null;

  const make = (name, attributes = {}, text = "") => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const options = (select, entries, chosen) => {
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
    if (entries.some(([value]) => value === chosen)) select.value = chosen;
  };
  const shown = () => data.layers.find((one) => one.key === layer.value);
  const names = () => shown().items.map((item) => item.name);

  const pane = (item) => {
    const figure = make("figure", { class: "pane" });
    const frame = make("div", { class: "frame" });
    frame.style.aspectRatio = data.aspect;
    const source = item.source || document.getElementById(item.image)?.src;
    if (source) {
      const image = make("img", { alt: item.alternative, draggable: "false" });
      image.src = source;
      frame.append(image);
    } else {
      frame.append(make("p", { class: "missing" }, item.missing));
    }
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.append(make("span"));
    frame.append(bar);
    figure.append(frame, make("figcaption", {}, item.label));
    return figure;
  };

  const build = () => {
    viewer.dataset.view = at.view;
    for (const one of viewer.querySelectorAll("[data-view]")) {
      if (one !== viewer) one.setAttribute("aria-pressed", String(one.dataset.view === at.view));
    }
    const items = shown().items;
    stage.className = "stage " + at.view;
    handle = null;
    if (at.view === "grid") {
      stage.style.aspectRatio = stage.style.maxWidth = "";
      stage.replaceChildren(...items.map(pane));
    } else {
      stage.style.aspectRatio = data.aspect;
      stage.style.maxWidth = `calc(70vh * ${data.aspect})`;
      const pick = (select) => items.find((item) => item.name === select.value);
      handle = make("div", {
        class: "handle", role: "slider", tabindex: "0", "aria-label": "Divider between the two maps",
        "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
      });
      stage.replaceChildren(pane(pick(left)), pane(pick(right)), handle);
      handle.addEventListener("keydown", slide);
      handle.addEventListener("pointerdown", grab);
    }
    const scale = shown().legend;
    legend.replaceChildren();
    if (scale) {
      const strip = make("div", { class: "scale" });
      const ramp = make("span", { class: "ramp" });
      ramp.style.background = `linear-gradient(90deg, ${scale.gradient})`;
      strip.append(make("span", {}, scale.low), ramp, make("span", {}, `${scale.high} ${scale.unit}`.trim()));
      legend.append(strip);
    }
    place();
  };

  const place = () => {
    const count = stage.children.length;
    const most = Math.max(Math.floor(stage.clientWidth / (data.aspect < 0.8 ? 150 : 230)), 1);
    stage.style.setProperty("--columns", String(Math.ceil(count / Math.ceil(count / most))));
    const half = 0.5 / at.scale;
    at.x = Math.min(Math.max(at.x, half), 1 - half);
    at.y = Math.min(Math.max(at.y, half), 1 - half);
    const move = `translate(${(0.5 - at.x * at.scale) * 100}%, ${(0.5 - at.y * at.scale) * 100}%) scale(${at.scale})`;
    const [share, label] = bar(data.width / at.scale);
    for (const frame of stage.querySelectorAll(".frame")) {
      const image = frame.querySelector("img");
      if (image) {
        image.style.transform = move;
        image.classList.toggle("crisp", frame.clientWidth * at.scale > 1.5 * data.columns);
      }
      const rule = frame.querySelector(".bar");
      rule.style.width = `${share * 100}%`;
      rule.firstChild.textContent = label;
    }
    if (handle) {
      stage.children[1].style.clipPath = `inset(0 0 0 ${at.swipe}%)`;
      handle.style.left = `${at.swipe}%`;
      handle.setAttribute("aria-valuenow", String(Math.round(at.swipe)));
      handle.setAttribute("aria-valuetext", `${left.value} on the left ${Math.round(at.swipe)} %, ${right.value} on the right`);
    }
    stage.classList.toggle("close", at.scale > 1);
    stage.dataset.scale = String(at.scale);
  };

  const bar = (width) => {
    const most = 0.3 * width;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((step) => step * power).find((one) => one <= most * (1 + 1e-9)) ?? power;
    const far = data.unit === "m" && length >= 1000;
    return [length / width, far ? `${+(length / 1000).toPrecision(3)} km` : `${+length.toPrecision(3)} ${data.unit}`];
  };

  let telling = 0;
  const tell = () => {
    clearTimeout(telling);
    telling = setTimeout(() => {
      const what = at.view === "swipe" ? `${left.value} against ${right.value}` : names().join(", ");
      state.textContent = `${shown().title}: ${what}. Zoom ${+at.scale.toPrecision(2)} times.`;
    }, 400);
  };

  // Zooms about a point given as a share of the frame, the middle by default.
  const zoom = (factor, px = 0.5, py = 0.5) => {
    const scale = factor === 0 ? 1 : Math.min(Math.max(at.scale * factor, 1), CLOSEST);
    at.x += (px - 0.5) * (1 / at.scale - 1 / scale);
    at.y += (py - 0.5) * (1 / at.scale - 1 / scale);
    at.scale = scale;
    place();
    tell();
  };
  const pan = (dx, dy) => {
    at.x += dx / at.scale;
    at.y += dy / at.scale;
    place();
  };
  const frameAt = (event) => {
    const frames = [...stage.querySelectorAll(".frame")];
    const inside = frames.find((frame) => {
      const box = frame.getBoundingClientRect();
      return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    });
    const box = (inside ?? frames[0]).getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, box };
  };

  const swipeTo = (percent) => {
    at.swipe = Math.min(Math.max(percent, 0), 100);
    place();
  };
  const slide = (event) => {
    const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 }[event.key];
    if (step) swipeTo(at.swipe + step);
    else if (event.key === "Home") swipeTo(0);
    else if (event.key === "End") swipeTo(100);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const grab = (event) => {
    event.stopPropagation();
    event.preventDefault();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
    const follow = (move) => {
      const box = stage.getBoundingClientRect();
      swipeTo(((move.clientX - box.left) / box.width) * 100);
    };
    const held = handle;
    const release = () => held.removeEventListener("pointermove", follow);
    held.addEventListener("pointermove", follow);
    held.addEventListener("pointerup", release, { once: true });
    held.addEventListener("pointercancel", release, { once: true });
  };

  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("moving");
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const { box } = frameAt(before);
    if (fingers.size === 1) {
      pan((before.clientX - event.clientX) / box.width, (before.clientY - event.clientY) / box.height);
    } else {
      const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      const middle = frameAt({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
      zoom(apart(event) / Math.max(apart(before), 1), middle.x, middle.y);
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) stage.classList.remove("moving");
    });
  }
  stage.addEventListener("wheel", (event) => {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === stage;
    if (!wanted || (at.scale === 1 && event.deltaY > 0 && !event.ctrlKey)) return;
    event.preventDefault();
    const { x, y } = frameAt(event);
    zoom(Math.exp(-event.deltaY / 300), x, y);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    const { x, y } = frameAt(event);
    zoom(2, x, y);
  });
  stage.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(0);
    else return;
    event.preventDefault();
  });
  for (const one of viewer.querySelectorAll("[data-zoom]")) {
    one.addEventListener("click", () => zoom(Number(one.dataset.zoom)));
  }
  for (const one of viewer.querySelectorAll("button[data-view]")) {
    one.addEventListener("click", () => { at.view = one.dataset.view; build(); tell(); });
  }
  layer.addEventListener("change", () => {
    options(left, names().map((name) => [name, name]), left.value);
    options(right, names().map((name) => [name, name]), right.value);
    build();
    tell();
  });
  for (const select of [left, right]) select.addEventListener("change", () => { build(); tell(); });
  window.addEventListener("resize", place);

  options(layer, data.layers.map((one) => [one.key, one.title]));
  options(left, names().map((name) => [name, name]), data.left);
  options(right, names().map((name) => [name, name]), data.right);
  build();
})();
