"use strict";
// A choice shows the figures of one value and hides those of the others.
for (const select of document.querySelectorAll("select[data-shows]")) {
  const show = () => {
    for (const figure of document.querySelectorAll(`[data-of="${select.dataset.shows}"]`)) {
      figure.hidden = figure.dataset.value !== select.value;
    }
  };
  select.addEventListener("change", show);
  show();
}
// An atlas holds one map for each place of the photo; the place under the pointer, or chosen with the arrow keys, says which.
for (const viewer of document.querySelectorAll("[data-atlas]")) {
  const [photo, shown] = viewer.querySelectorAll("canvas");
  const [picture, atlas] = viewer.querySelectorAll("img");
  const [rows, columns, height, width, tokens] = viewer.dataset.atlas.split(",").map(Number);
  const said = viewer.querySelector("output");
  let row = Math.floor(rows / 2), column = Math.floor(columns / 2), isToken = false;
  const draw = () => {
    const index = isToken ? 0 : tokens + row * columns + column;
    const far = Math.floor(atlas.naturalWidth / width);
    shown.width = width; shown.height = height;
    shown.getContext("2d").drawImage(atlas, (index % far) * width, Math.floor(index / far) * height, width, height, 0, 0, width, height);
    photo.width = picture.naturalWidth; photo.height = picture.naturalHeight;
    const pen = photo.getContext("2d"), w = photo.width / columns, h = photo.height / rows;
    pen.drawImage(picture, 0, 0);
    if (!isToken) {
      pen.lineWidth = Math.max(1, photo.width / 100);
      pen.strokeStyle = "#e4572e"; pen.strokeRect(column * w, row * h, w, h);
    }
    said.textContent = isToken ? "class token" : `row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
  };
  const point = (event) => {
    const box = photo.getBoundingClientRect();
    row = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows)));
    column = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns)));
    isToken = false;
    draw();
  };
  photo.addEventListener("pointermove", point);
  photo.addEventListener("pointerdown", point);
  photo.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    isToken = false;
    row = Math.min(rows - 1, Math.max(0, row + step[0]));
    column = Math.min(columns - 1, Math.max(0, column + step[1]));
    draw();
  });
  const button = viewer.querySelector("button");
  if (button) button.addEventListener("click", () => { isToken = true; draw(); });
  Promise.all([picture.decode(), atlas.decode()]).then(draw);
}
