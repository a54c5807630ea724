() => {
  // A picture pasted anywhere on the page goes where a dropped one would.
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    if (!file) return;
    // While camera or clipboard is chosen there is no place for files; it comes back with its button.
    if (!document.querySelector("#picture input[type=file]")) {
      document.querySelector("#picture [aria-label='Upload file']")?.click();
    }
    requestAnimationFrame(() => {
      const input = document.querySelector("#picture input[type=file]");
      if (!input) return;
      const files = new DataTransfer();
      files.items.add(file);
      input.files = files.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
  });

  // Gradio takes a picture that is shown enlarged for one in its own size: a click goes on from where it would look for
  // the pixel that was meant, and one beside the picture goes nowhere. Browsers may cut to whole pixels of the screen
  // what Gradio then rounds, hence the 0.49.
  document.addEventListener("click", (event) => {
    const image = event.isTrusted && event.detail ? event.target.closest("#result button")?.querySelector("img") : null;
    if (!image) return;
    const { left, top, width, height } = image.getBoundingClientRect();
    const { naturalWidth, naturalHeight } = image;
    const scale = Math.min(width / naturalWidth, height / naturalHeight);
    if (!naturalWidth || scale <= 1) return;
    event.stopImmediatePropagation();
    const x = Math.floor((event.clientX - left - (width - naturalWidth * scale) / 2) / scale);
    const y = Math.floor((event.clientY - top - (height - naturalHeight * scale) / 2) / scale);
    if (x < 0 || y < 0 || x >= naturalWidth || y >= naturalHeight) return;
    image.dispatchEvent(new PointerEvent("click", {
      bubbles: true,
      clientX: left + (width - naturalWidth) / 2 + x + 0.49,
      clientY: top + (height - naturalHeight) / 2 + y + 0.49,
    }));
  }, true);

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

  // Gradio's slider takes no texts for those who hear its two pictures.
  const describeSlider = () => {
    const found = document.querySelector("#summary .summary")?.textContent ?? "";
    for (const image of document.querySelectorAll("#slider img")) {
      image.alt = /-compare\.\w+$/.test(image.src) ? `After: ${found}` : "Before: the picture you gave";
    }
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
    describeSlider();
    tell();
  };
  mend();
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
}
