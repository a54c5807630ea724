() => {
  // A picture pasted anywhere on the page goes where a dropped one would.
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    const input = document.querySelector("#picture input[type=file]");
    if (!file || !input) return;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
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

  // Gradio's slider takes no texts for those who hear its two pictures.
  const describeSlider = () => {
    const found = document.querySelector("#summary .summary")?.textContent ?? "";
    for (const image of document.querySelectorAll("#slider img")) {
      image.alt = /-compare\.\w+$/.test(image.src) ? `After: ${found}` : "Before: the picture you gave";
    }
  };

  const mend = () => {
    joinRadios();
    describeSlider();
  };
  mend();
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
}
