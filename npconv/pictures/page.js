"use strict";
// A choice shows the elements of one value and hides those of the others.
for (const select of document.querySelectorAll("select[data-shows]")) {
  const show = () => {
    for (const one of document.querySelectorAll(`[data-of="${select.dataset.shows}"]`)) {
      one.hidden = one.dataset.value !== select.value;
    }
  };
  select.addEventListener("change", show);
  show();
}
// A link to a closed part opens it, also one from elsewhere.
const openTarget = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
window.addEventListener("hashchange", openTarget);
openTarget();
// Draw one tile of a picture that holds many of a size in rows.
const drawTile = (canvas, atlas, index, height, width) => {
  const far = Math.floor(atlas.naturalWidth / width);
  canvas.width = width; canvas.height = height;
  canvas.getContext("2d").drawImage(
    atlas, (index % far) * width, Math.floor(index / far) * height, width, height, 0, 0, width, height);
};
// Do something when an element is seen first: at once, or when the closed part that it stands in is opened.
const whenOpen = (element, work) => {
  const closed = element.closest("details:not([open])");
  if (closed) closed.addEventListener("toggle", work, { once: true });
  else work();
};
// A sheet holds many channels of a map: those of some ranks are shown, or those of the numbers that are typed.
for (const sheet of document.querySelectorAll("[data-sheet]")) {
  const channels = sheet.dataset.sheet.split(",").map(Number);
  const [select, typed, said] = ["select", "input", "output"].map((tag) => sheet.querySelector(tag));
  const says = said.textContent;
  const show = async (places) => {
    for (const tiles of sheet.querySelectorAll(".tiles")) {
      const atlas = document.getElementById(tiles.dataset.from);
      const [height, width] = tiles.dataset.tile.split(",").map(Number);
      await atlas.decode();
      tiles.replaceChildren(...places.map((place) => {
        const tile = document.createElement("span"), canvas = document.createElement("canvas");
        drawTile(canvas, atlas, place, height, width);
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `channel ${channels[place]}`);
        tile.append(canvas, String(channels[place]));
        return tile;
      }));
    }
  };
  const byRank = () => {
    const start = Number(select.value), count = Number(sheet.dataset.atOnce);
    said.textContent = says;
    return show(channels.slice(start, start + count).map((_, place) => start + place));
  };
  const byNumber = () => {
    const wanted = [...typed.value.matchAll(/(\d+)(?:\s*-\s*(\d+))?/g)].flatMap(([, from, to]) => {
      const length = Math.min(Math.max(Number(to ?? from) - from, 0), channels.length);
      return Array.from({ length: length + 1 }, (_, one) => Number(from) + one);
    });
    if (!wanted.length) return byRank();
    const missing = wanted.filter((channel) => !channels.includes(channel));
    said.textContent = missing.length ? `not among those to choose from: ${missing.join(", ")}` : says;
    return show(wanted.map((channel) => channels.indexOf(channel)).filter((place) => place >= 0));
  };
  select.addEventListener("change", () => { typed.value = ""; byRank(); });
  typed.addEventListener("change", byNumber);
  whenOpen(sheet, byRank);
}
// What is laid over the photo, by a share, as npconv.pictures.overlay does it.
const seen = document.getElementById("seen");
for (const figure of document.querySelectorAll("[data-over]")) {
  const canvas = figure.querySelector("canvas"), colours = figure.querySelector("img");
  Promise.all([seen.decode(), colours.decode()]).then(() => {
    canvas.width = seen.naturalWidth; canvas.height = seen.naturalHeight;
    const pen = canvas.getContext("2d");
    pen.drawImage(seen, 0, 0);
    pen.globalAlpha = Number(figure.dataset.over);
    pen.drawImage(colours, 0, 0, canvas.width, canvas.height);
  });
}
// An atlas holds one map for each place of the photo; the place under the pointer, or chosen with the arrow keys, says which.
for (const viewer of document.querySelectorAll("[data-atlas]")) {
  const [photo, shown] = viewer.querySelectorAll("canvas");
  const [atlas, said, heads, button] = ["img", "output", "select", "button"].map((tag) => viewer.querySelector(tag));
  const [rows, columns, height, width, tokens] = viewer.dataset.atlas.split(",").map(Number);
  let row = Math.floor(rows / 2), column = Math.floor(columns / 2), isToken = false;
  const draw = () => {
    const head = heads ? Number(heads.value) : 0;
    drawTile(shown, atlas, head * (tokens + rows * columns) + (isToken ? 0 : tokens + row * columns + column), height, width);
    const times = Math.ceil(320 / seen.naturalWidth);
    photo.width = times * seen.naturalWidth; photo.height = times * seen.naturalHeight;
    const pen = photo.getContext("2d"), w = photo.width / columns, h = photo.height / rows;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(seen, 0, 0, photo.width, photo.height);
    if (!isToken) {  // white in black, to be seen on any photo
      for (const [colour, line] of [["#000000", 6], ["#ffffff", 2]]) {
        pen.lineWidth = line; pen.strokeStyle = colour; pen.strokeRect(column * w, row * h, w, h);
      }
    }
    said.textContent = isToken ? "class token" : `row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
  };
  const choose = (toRow, toColumn) => {
    row = Math.min(rows - 1, Math.max(0, toRow));
    column = Math.min(columns - 1, Math.max(0, toColumn));
    isToken = false;
    draw();
  };
  const point = (event) => {
    const box = photo.getBoundingClientRect();
    choose(Math.floor((event.clientY - box.top) / box.height * rows), Math.floor((event.clientX - box.left) / box.width * columns));
  };
  photo.addEventListener("pointermove", point);
  photo.addEventListener("pointerdown", point);
  photo.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(row + step[0], column + step[1]);
  });
  if (button) button.addEventListener("click", () => { isToken = true; draw(); });
  if (heads) heads.addEventListener("change", draw);
  whenOpen(viewer, () => Promise.all([seen.decode(), atlas.decode()]).then(draw));
}
