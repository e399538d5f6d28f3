// Elements made of data. Text is always text: nothing here reads HTML.

/** An element; `on…` properties are listeners, `false` and `null` attributes are left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? "" : value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Change the text of an element only if it is another: screen readers stay quiet. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** One element a key, made once, put in order and dropped when its key is gone. */
export function keyed(parent, keys, make, known) {
  for (const [key, item] of known) {
    if (!keys.includes(key)) {
      item.close?.();
      item.element.remove();
      known.delete(key);
    }
  }
  keys.forEach((key, place) => {
    if (!known.has(key)) known.set(key, make(key));
    const { element } = known.get(key);
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
}
