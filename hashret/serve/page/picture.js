// A picture to search by: chosen, dropped or pasted. It is checked here first, so that a mistake is told at once.

import { find, number } from "./dom.js";

export function takePictures(limits, take, refuse) {
  const file = find("file");
  file.accept = limits.kinds.join(",");

  const check = (given) => {
    if (!given) return;
    if (given.type && !limits.kinds.includes(given.type)) {
      refuse(`${given.name || "This"} is no picture that can be searched by.`, `Take one of ${limits.kinds.map((kind) => kind.slice(6)).join(", ")}.`);
    } else if (given.size > limits.body - 65536) {
      refuse(`This picture has ${number(Math.round(given.size / 1e6))} MB.`, `Up to ${number(Math.floor(limits.body / 1e6))} MB can be sent.`);
    } else {
      take(given);
    }
  };

  find("pick").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    check(file.files[0]);
    file.value = "";
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files][0];
    if (pasted) {
      event.preventDefault();
      check(pasted);
    }
  });

  const drop = find("drop");
  const holdsFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.hidden = true;
    check(event.dataTransfer.files[0]);
  });
}
