() => {
  // A picture pasted anywhere on a tab goes where a dropped one would.
  const PLACES = ["#picture", "#score-picture", "#batch-files"];
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    const place = PLACES.map((one) => document.querySelector(one)).find((one) => one?.checkVisibility());
    if (!file || !place) return;
    // While camera or clipboard is chosen there is no place for files; it comes back with its button.
    if (!place.querySelector("input[type=file]")) place.querySelector("[aria-label='Upload file']")?.click();
    requestAnimationFrame(() => {
      const input = place.querySelector("input[type=file]");
      if (!input) return;
      const files = new DataTransfer();
      files.items.add(file);
      input.files = files.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
  });

  // Where a picture lies in its place on the screen: the screen's pixels per pixel of it, and its upper left corner.
  const lie = (image) => {
    const { left, top, width, height } = image.getBoundingClientRect();
    const { naturalWidth, naturalHeight } = image;
    const scale = Math.min(width / naturalWidth, height / naturalHeight);
    return { scale, left: left + (width - naturalWidth * scale) / 2, top: top + (height - naturalHeight * scale) / 2 };
  };

  // An event of a mouse at a place that is laid over its own, which browsers cut to whole pixels of the screen.
  const mouse = (type, clientX, clientY) =>
    Object.defineProperties(new MouseEvent(type, { bubbles: true, view: window }), {
      clientX: { value: clientX },
      clientY: { value: clientY },
    });

  // Gradio takes a picture that is shown enlarged for one in its own size: a pixel is asked for where it would look.
  const ask = (image, [x, y]) => {
    const { left, top, width, height } = image.getBoundingClientRect();
    const step = Math.min(lie(image).scale, 1);
    const before = [(width - image.naturalWidth * step) / 2, (height - image.naturalHeight * step) / 2];
    image.dispatchEvent(mouse("click", left + before[0] + x * step, top + before[1] + y * step));
  };

  // The pixel that is asked for last, in parts of the picture's sides: the keyboard's cross stays there.
  const RESULT = "#result button:has(img)";
  const cross = [0.5, 0.5];
  const sides = (image) => [image.naturalWidth, image.naturalHeight];
  const crossed = (image) => sides(image).map((side, axis) => Math.floor(cross[axis] * side));
  const moveCross = (image, pixel) => sides(image).forEach((side, axis) => { cross[axis] = (pixel[axis] + 0.5) / side; });
  const tellCross = (button) => {
    const [across, down] = cross.map((part) => Math.round(100 * part));
    button.setAttribute("aria-valuenow", across);
    button.setAttribute("aria-valuetext", `${across}% across, ${down}% down`);
  };
  const drawCross = () => {
    const button = document.activeElement;
    if (!button.matches(RESULT)) return;
    const image = button.querySelector("img");
    const { scale, left, top } = lie(image);
    const [x, y] = crossed(image);
    const place = button.getBoundingClientRect();
    button.style.setProperty("--cross-x", `${left + (x + 0.5) * scale - place.left}px`);
    button.style.setProperty("--cross-y", `${top + (y + 0.5) * scale - place.top}px`);
    tellCross(button);
  };
  for (const event of ["focusin", "resize", "load"]) window.addEventListener(event, drawCross, true);
  // A click asks for the pixel that it hits, one beside the picture for none, and a key that presses for the cross's.
  document.addEventListener("click", (event) => {
    const image = event.isTrusted ? event.target.closest(RESULT)?.querySelector("img") : null;
    if (!image?.naturalWidth) return;
    event.stopImmediatePropagation();
    if (event.detail) {
      const { scale, left, top } = lie(image);
      const pixel = [(event.clientX - left) / scale, (event.clientY - top) / scale].map(Math.floor);
      if (sides(image).some((side, axis) => pixel[axis] < 0 || pixel[axis] >= side)) return;
      moveCross(image, pixel);
    }
    drawCross();
    ask(image, crossed(image));
  }, true);

  // The line of the comparison goes where it is pressed; told is which part of the picture lies left of it.
  const LINE = "#slider [data-testid=slider]";
  const measureLine = (line) => {
    const image = document.querySelector("#slider img");
    if (!image?.naturalWidth) return null; // no picture has come yet
    const { scale, left } = lie(image);
    const width = image.naturalWidth * scale;
    const place = line.getBoundingClientRect();
    return { left, width, top: place.top, part: (place.left + place.width / 2 - left) / width };
  };
  const tellLine = () => requestAnimationFrame(() => {
    const line = document.querySelector(LINE);
    const measured = line && measureLine(line);
    if (measured) line.setAttribute("aria-valuenow", Math.round(100 * measured.part));
  });
  for (const event of ["load", "mouseup", "touchend", "focusin", "resize"]) window.addEventListener(event, tellLine, true);

  // Arrow keys move both, with Shift by less; the pixel under the cross is asked for when the key is let go.
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ENDS = { Home: 0, End: 1 };
  const alone = (event) => !event.ctrlKey && !event.altKey && !event.metaKey;
  const keyOnLine = (line, event) => {
    const arrow = ARROWS[event.key];
    if (!arrow && !(event.key in ENDS)) return;
    event.preventDefault();
    const measured = measureLine(line);
    if (!measured) return;
    const step = event.shiftKey ? 0.002 : 0.02;
    const part = arrow ? measured.part + (arrow[0] - arrow[1]) * step : ENDS[event.key];
    const place = [measured.left + Math.min(Math.max(part, 0), 1) * measured.width, measured.top];
    line.dispatchEvent(mouse("mousedown", ...place));
    window.dispatchEvent(mouse("mouseup", ...place));
  };
  const keyOnResult = (image, event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(...sides(image)) / 40));
    const last = sides(image).map((side) => side - 1);
    moveCross(image, crossed(image).map((at, axis) => Math.min(Math.max(at + step * arrow[axis], 0), last[axis])));
    drawCross();
  };
  const shown = ({ target }) => {
    const image = target.matches(RESULT) ? target.querySelector("img") : null;
    return image?.naturalWidth ? image : null;
  };
  document.addEventListener("keydown", (event) => {
    if (!alone(event)) return;
    if (event.target.matches(LINE)) keyOnLine(event.target, event);
    const image = shown(event);
    if (image) keyOnResult(image, event);
  });
  document.addEventListener("keyup", (event) => {
    const image = event.key in ARROWS && alone(event) && shown(event);
    if (image) ask(image, crossed(image));
  });

  // On a phone the examples stand under the result: show it when one is chosen.
  document.addEventListener("click", (event) => {
    if (event.target.closest(".example") && matchMedia("(max-width: 700px)").matches) {
      document.querySelector("#bench").scrollIntoView();
    }
  });

  // Gradio names every radio button differently; one name per group lets the arrow keys move within it.
  const joinRadios = () => {
    for (const group of document.querySelectorAll("#task, .strip")) {
      group.setAttribute("role", "radiogroup");
      group.setAttribute("aria-label", group.querySelector("[data-testid=block-info]").textContent);
      for (const radio of group.querySelectorAll("input[type=radio]")) radio.name = group.id;
    }
  };

  // To those who hear the page the result is a slider in two directions, whose arrow keys are left to it.
  const describeResult = () => {
    const button = document.querySelector(RESULT);
    if (!button) return;
    button.querySelector("img").id = "result-picture";
    button.setAttribute("role", "slider");
    button.setAttribute("aria-roledescription", "picture with a cross");
    tellCross(button);
    button.setAttribute("aria-labelledby", "result-picture");
    button.setAttribute("aria-describedby", "keys");
  };

  // Gradio's slider takes no texts for those who hear its two pictures.
  const describeSlider = () => {
    const found = document.querySelector("#summary .summary")?.textContent ?? "";
    for (const image of document.querySelectorAll("#slider img")) {
      image.alt = /-compare\.\w+$/.test(image.src) ? `After: ${found}` : "Before: the picture you gave";
    }
    const line = document.querySelector(LINE);
    if (!line || line.tabIndex === 0) return;
    line.tabIndex = 0;
    line.setAttribute("role", "slider");
    line.setAttribute("aria-label", "Line between the picture and what was found");
    tellLine();
  };

  // Who hears the page is told what changes from one place, which is there before its words are.
  const heard = new Map();
  const tell = () => {
    const line = document.querySelector("#heard");
    const there = new Map([...document.querySelectorAll("[data-heard]")].map((one) => [one.closest("[id]").id, one.textContent]));
    const gone = [...heard.keys()].filter((place) => !there.has(place));
    const told = [...there].filter(([place, text]) => heard.get(place) !== text);
    for (const place of gone) heard.delete(place);
    for (const [place, text] of told) heard.set(place, text);
    if (told.length || gone.length) line.textContent = told.map(([, text]) => text).join(" ");
  };

  const mend = () => {
    joinRadios();
    describeResult();
    describeSlider();
    tell();
  };
  mend();
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
}
