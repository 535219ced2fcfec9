// A small virtual DOM: what is shown is a function of the state, once a second, and what has not changed is left
// alone, so that focus, selection and open details stay.

const SVG = "http://www.w3.org/2000/svg";
const live = new Set(["value", "checked", "disabled", "hidden"]);

/** h describes an element. A key keeps it the same among its siblings. */
export function h(tag, props, ...children) {
  return { tag, props: props || {}, children: children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false) };
}

/** render makes the children of parent those that are described. */
export function render(parent, children) {
  children = [children].flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false);
  const keys = new Set(children.map((c) => c.props?.key).filter((k) => k !== undefined));
  const keyed = new Map();
  for (const node of [...parent.childNodes]) {
    if (node.batonKey === undefined) continue;
    if (keys.has(node.batonKey)) keyed.set(node.batonKey, node);
    else node.remove();
  }
  let next = parent.firstChild;
  for (const child of children) {
    let node;
    if (typeof child !== "object") {
      node = next?.nodeType === Node.TEXT_NODE ? next : document.createTextNode("");
      if (node.data !== String(child)) node.data = child;
    } else {
      node = reuse(child, next, keyed) ?? create(child, parent);
      update(node, child);
    }
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  while (next) {
    const rest = next.nextSibling;
    next.remove();
    next = rest;
  }
}

function reuse({ tag, props }, next, keyed) {
  if (props.key !== undefined) {
    const node = keyed.get(props.key);
    return node?.localName === tag ? node : undefined;
  }
  return next?.nodeType === Node.ELEMENT_NODE && next.batonKey === undefined && next.localName === tag ? next : undefined;
}

function create({ tag, props }, parent) {
  const inSVG = tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = inSVG ? document.createElementNS(SVG, tag) : document.createElement(tag);
  node.batonKey = props.key;
  return node;
}

function update(node, { props, children }) {
  const was = node.batonProps ?? {};
  for (const name of Object.keys(was)) {
    if (!(name in props)) set(node, name, null);
  }
  for (const [name, value] of Object.entries(props)) {
    if (name !== "key" && (was[name] !== value || live.has(name))) set(node, name, value);
  }
  node.batonProps = props;
  if (!props.own) render(node, children); // else its content is somebody else's
}

function set(node, name, value) {
  if (name === "own") return;
  if (name.startsWith("on")) node[name] = value;
  else if (name === "style") for (const [k, v] of Object.entries(value ?? {})) node.style.setProperty(k, v);
  else if (live.has(name)) {
    if (node[name] !== value) node[name] = value ?? false;
  } else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
