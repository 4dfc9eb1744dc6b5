// Markdown as DOM nodes, while it arrives. A model's text is only ever the data of text nodes: nothing here parses HTML.
//
// Each complete line is read once. The line that is still being written is tried out anew on each call, on top of the
// state before it; its elements are used again where they fit, so that nothing flickers and a selection survives.
//
// It reads what models write: CommonMark without HTML, link references, indented code and underlined headings, with
// GitHub's tables, strikethrough, task lists and bare addresses. Pictures become links: the page loads nothing.

const DEEPEST = 12;                      // of containers and of emphasis; a hostile text may nest by the thousand
const LONG = 4000;                       // characters of a text node of code, and of a paragraph that is painted in pieces

const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-+*]|\d{1,9}[.)])(?:( +)(.*)|)$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
// What a line may still become, of which nothing should be seen until it is clear.
const UNCLEAR = /^ {0,3}(?:#{1,6}|[-+*_]{1,3}|\d{1,9}[.)]?|`{1,2}|`{3}[^`]*|~{1,2}|~{3}[^~]*)[ \t]*$/;

export class Markdown {
  constructor(root) {
    this.root = root;
    this.rest = "";                      // the unfinished line
    this.isMiddle = false;               // its beginning is read: it is very long
    this.stack = [{kind: "root", node: root}];
    this.leaf = null;                    // the block that takes text: p, h, code or table
    this.made = null;                    // elements of the line that is tried out
    this.stale = [];                     // those of the last time, to be used again
  }

  feed(text) {
    this.#back();
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) {
      this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
      this.isMiddle = false;
    }
    if (this.rest) {
      this.saved = {stack: this.stack.slice(), leaf: this.leaf && {...this.leaf}};
      this.made = [];
      this.#line(this.rest);
      if (this.rest.length > LONG && this.leaf && this.leaf.kind !== "table") {
        this.made = null;
        this.isMiddle = true;
        this.rest = "";
        this.#shorten(this.leaf);
      }
    }
    this.#drop();
    if (!this.leaf) return;
    this.#paint(this.leaf, true);
  }

  end() {
    this.#back();
    if (this.rest) this.#line(this.rest);
    this.rest = "";
    this.#drop();
    this.#close(0);
  }

  // Back to the state before the unfinished line.
  #back() {
    if (!this.made) return;
    ({stack: this.stack, leaf: this.leaf} = this.saved);
    this.stale = this.made;
    this.made = null;
  }

  #drop() {
    for (const node of this.stale) node.remove();
    this.stale = [];
  }

  #make(name, parent, className = "") {
    const old = this.stale[0];
    let node;
    if (old?.localName === name && old.parentNode === parent && old.className === className) node = this.stale.shift();
    else {
      this.#drop();
      node = document.createElement(name);
      if (className) node.className = className;
      parent.append(node);
    }
    this.made?.push(node);
    return node;
  }

  get #top() { return this.stack[this.stack.length - 1].node; }

  #line(line) {
    if (this.isMiddle && this.leaf) {
      this.leaf.text += line;
      if (this.leaf.kind === "code" && !this.made) this.leaf.text += "\n";
      if (!this.made) this.#shorten(this.leaf);
      return;
    }
    // Containers that go on.
    let rest = line, depth = 1;
    const blank = !line.trim();
    for (; depth < this.stack.length; depth++) {
      const {kind, indent, least} = this.stack[depth];
      if (kind === "quote") {
        if (!QUOTE.test(rest)) break;
        rest = rest.replace(QUOTE, "");
      } else if (kind === "item" && !blank) {
        const spaces = width(rest);
        // Models indent what belongs to "1. " by two spaces too.
        const near = spaces >= least && (ITEM.test(rest.trimStart()) || FENCE.test(rest.trimStart()));
        if (spaces < indent && !near) break;
        rest = strip(rest, indent);
      }
    }
    const isWhole = depth === this.stack.length;
    if (this.leaf?.kind === "code") {
      if (isWhole) return this.#codeLine(rest);
      this.#close(depth);
    }
    // A list ends where what follows is not of it.
    const isList = depth => this.stack[depth - 1]?.kind === "list";
    let isNew = false;
    for (;;) {
      let found;
      if (!rest.trim()) {
        if (isNew) return;
        if (isWhole || this.stack[depth]?.kind === "quote") this.#close(isWhole ? this.stack.length : depth);
        return;
      }
      if (this.made && UNCLEAR.test(rest) && !(this.leaf?.kind === "table")) return;
      if ((found = FENCE.exec(rest))) {
        this.#close(isList(depth) ? depth - 1 : depth);
        return this.#fence(found[1].length, found[2], found[3].trim());
      }
      if ((found = HEADING.exec(rest))) {
        this.#close(isList(depth) ? depth - 1 : depth);
        const text = (found[2] ?? "").replace(/(^|[ \t]+)#+[ \t]*$/, "").trim();
        const node = this.#make("h" + Math.min(found[1].length + 2, 6), this.#top, "h" + found[1].length);
        this.leaf = {kind: "h", node, text, fixed: 0};
        if (!this.made) this.#close(this.stack.length);
        return;
      }
      if (RULE.test(rest)) {
        this.#close(isList(depth) ? depth - 1 : depth);
        this.#make("hr", this.#top);
        return;
      }
      if (this.stack.length < DEEPEST && (found = QUOTE.exec(rest))) {
        this.#close(isList(depth) ? depth - 1 : depth);
        rest = rest.slice(found[0].length);
        this.stack.push({kind: "quote", node: this.#make("blockquote", this.#top)});
        depth = this.stack.length;
        isNew = true;
        continue;
      }
      if (this.stack.length < DEEPEST && (found = ITEM.exec(rest)) && this.#mayBegin(found, depth)) {
        rest = this.#item(found, depth);
        depth = this.stack.length;
        isNew = true;
        continue;
      }
      break;
    }
    if (this.leaf?.kind === "table") {
      if (depth >= this.stack.length) return this.#row(this.leaf.node.lastChild, rest, "td", this.leaf.aligns);
      this.#close(isList(depth) ? depth - 1 : depth);
    }
    if (this.leaf?.kind === "p") {
      if (!this.made && rest.includes("|") && DELIMITERS.test(rest) && this.#table(rest)) return;
      // Also where a quote or an item forgot its mark.
      this.leaf.text += "\n" + rest.trimStart();
      if (!this.made) this.#shorten(this.leaf);
      return;
    }
    this.#close(isList(depth) ? depth - 1 : depth);
    this.leaf = {kind: "p", node: this.#make("p", this.#top), text: rest.trimStart(), fixed: 0};
    if (!this.made) this.#shorten(this.leaf);
  }

  // Whether an item may interrupt what is there: a line of a paragraph may begin with a number.
  #mayBegin([, , mark, space], depth) {
    const inText = this.leaf?.kind === "p" && depth === this.stack.length && this.stack[depth - 1]?.kind !== "list";
    return !inText || (space && (!/\d/.test(mark) || parseInt(mark) === 1 || this.stack[depth - 1]?.kind === "item"));
  }

  #item([, before, mark, space = "", text = ""], depth) {
    const ordered = /\d/.test(mark);
    let list = this.stack[depth - 1];
    if (list.kind === "list" && list.ordered === ordered) this.#close(depth);
    else {
      this.#close(list.kind === "list" ? depth - 1 : depth);
      const node = this.#make(ordered ? "ol" : "ul", this.#top);
      if (ordered) node.start = parseInt(mark);
      list = {kind: "list", node, ordered};
      this.stack.push(list);
    }
    const node = this.#make("li", list.node);
    const gap = space.length > 4 || !space ? 1 : space.length;
    this.stack.push({kind: "item", node, indent: before.length + mark.length + gap, least: before.length + 2});
    const task = /^\[([ xX])\](?: +|$)/.exec(text);
    node.classList.toggle("task", !!task);
    return task ? (task[1] === " " ? "☐ " : "☑ ") + text.slice(task[0].length) : text;
  }

  #fence(indent, mark, info) {
    const box = this.#make("div", this.#top, "code");
    const head = document.createElement("div"), label = document.createElement("span"), copy = document.createElement("button");
    const pre = document.createElement("pre"), code = document.createElement("code");
    label.textContent = info.split(/[\s{,]/)[0].slice(0, 40) || "text";
    copy.type = "button";
    copy.textContent = "Copy";
    copy.dataset.copy = "code";
    copy.setAttribute("aria-label", `Copy this ${label.textContent}`);
    head.append(label, copy);
    pre.tabIndex = 0;
    pre.append(code);
    box.replaceChildren(head, pre);
    this.leaf = {kind: "code", node: code, text: "", mark, indent};
  }

  #codeLine(line) {
    const {mark, indent} = this.leaf;
    const end = line.trim();
    if (end[0] === mark[0] && end.length >= mark.length && width(line) < 4 && [...end].every(one => one === mark[0])) {
      if (!this.made) this.#close(this.stack.length);
      return;
    }
    if (this.made && end && [...end].every(one => one === mark[0])) return;
    this.leaf.text += strip(line, indent) + (this.made ? "" : "\n");
    if (!this.made) this.#shorten(this.leaf);
  }

  #table(line) {
    const {node: paragraph, text, fixed} = this.leaf;
    const at = text.lastIndexOf("\n"), names = cells(text.slice(at + 1)), marks = cells(line);
    if (names.length !== marks.length || fixed) return false;
    if (at < 0) {
      paragraph.remove();
      this.leaf = null;
    } else {
      this.leaf.text = text.slice(0, at);
      this.#close(this.stack.length);
    }
    const box = this.#make("div", this.#top, "table"), table = document.createElement("table");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Table");
    table.append(document.createElement("thead"), document.createElement("tbody"));
    box.replaceChildren(table);
    const aligns = marks.map(mark => (mark.endsWith(":") ? (mark.startsWith(":") ? "middle" : "right") : ""));
    this.leaf = {kind: "table", node: table, aligns};
    this.#row(table.firstChild, text.slice(at + 1), "th", aligns);
    return true;
  }

  #row(parent, line, name, aligns) {
    const row = this.#make("tr", parent), texts = cells(line);
    aligns.forEach((align, i) => patch(this.#make(name, row, align), inline(texts[i] ?? "", !!this.made)));
  }

  // Closes what is open from this depth on.
  #close(depth) {
    const leaf = this.leaf;
    this.leaf = null;
    if (leaf) this.#paint(leaf, false);
    this.stack.length = Math.max(1, Math.min(depth, this.stack.length));
  }

  #paint(leaf, isOpen) {
    if (leaf.kind === "table") return;
    if (leaf.kind === "code") {
      const last = leaf.node.lastChild ?? leaf.node.appendChild(document.createTextNode(""));
      setText(last, leaf.text);
      return;
    }
    // It may be the head of a table.
    if (isOpen && leaf.kind === "p" && /^\s*\|[^\n]*$/.test(leaf.text)) return patch(leaf.node, [], leaf.fixed);
    patch(leaf.node, inline(leaf.text, isOpen), leaf.fixed);
  }

  // Takes off a long text what will not change, so that it is not painted again with each piece.
  #shorten(leaf) {
    if (leaf.text.length <= LONG) return;
    if (leaf.kind === "code") {
      this.#paint(leaf, true);
      leaf.node.append(document.createTextNode(""));
      leaf.text = "";
    } else if (leaf.kind === "p") {
      while (leaf.text.length > LONG) {
        let cut = LONG, kids;
        for (let tries = 0; tries < 8; tries++) {
          cut = leaf.text.lastIndexOf(" ", cut - 1);
          if (cut < LONG / 4) cut = LONG;
          kids = inline(leaf.text.slice(0, cut), false);
          if (!kids.isUnclosed || cut === LONG) break;
        }
        patch(leaf.node, kids, leaf.fixed);
        leaf.fixed = leaf.node.childNodes.length;
        leaf.text = leaf.text.slice(cut);
      }
    }
  }
}

const width = line => /^[ \t]*/.exec(line)[0].replaceAll("\t", "    ").length;

// Without so many spaces at its beginning, if it has them.
function strip(line, count) {
  const spaces = /^[ \t]*/.exec(line)[0];
  return count ? spaces.replaceAll("\t", "    ").slice(count) + line.slice(spaces.length) : line;
}

function cells(line) {
  const texts = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1").split(/(?<!\\)\|/);
  return texts.map(text => text.trim().replaceAll("\\|", "|"));
}

function setText(node, text) {
  if (node.data === text) return;
  // Appending keeps a selection.
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}

// Makes a node's children, but for the first ones, what the list says: texts and {name, kids, href}.
export function patch(parent, kids, fixed = 0) {
  let node = parent.childNodes[fixed] ?? null;
  for (const kid of kids) {
    const isText = typeof kid === "string";
    const fits = node && (isText ? node.nodeType === 3 : node.localName === kid.name && (node.getAttribute("href") ?? "") === (kid.href ?? ""));
    let here = node;
    if (!fits) {
      here = isText ? document.createTextNode(kid) : document.createElement(kid.name);
      if (kid.href) {
        here.setAttribute("href", kid.href);
        here.target = "_blank";
        here.rel = "noopener noreferrer nofollow";
      }
      if (node) node.replaceWith(here);
      else parent.append(here);
    }
    if (isText) setText(here, kid);
    else patch(here, kid.kids);
    node = here.nextSibling;
  }
  while (node) {
    const next = node.nextSibling;
    node.remove();
    node = next;
  }
}

const PLAIN = /[^\\`*_~[\]!<&h\n]+/y;
const ADDRESS = /https?:\/\/[^\s<>`"|\\]+/y;
const IN_BRACKETS = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/iy;
const BREAK = /<br ?\/?>/iy;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos|nbsp));/y;
const ENTITIES = {amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0"};
const TARGET = /\([ \n]*(?:<([^<>\n]*)>|([^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:[ \n]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?[ \n]*\)/y;
const CUT_TARGET = /\([^\s()]*$/y;
const PUNCTUATION = /[\p{P}\p{S}]/u;

const at = (pattern, text, index) => { pattern.lastIndex = index; return pattern.exec(text); };

// Only these are ever followed: no javascript:, data: or file:.
const isSafe = address => /^(?:https?:\/\/|mailto:)[^\s]+$/i.test(address);

// The nodes of a line or a paragraph. Of an open one, marks without an end are taken to end with the text; `isUnclosed` of
// the list says whether there are such.
export function inline(text, isOpen) {
  if (text.length > 5 * LONG) return [text];
  const head = {next: null, previous: null};
  let tail = head, last = null, isUnclosed = false;
  const brackets = [], without = new Set();
  const add = node => {
    if (node.text !== undefined && tail.text !== undefined && !node.bracket) tail.text += node.text;
    else { node.previous = tail; tail.next = node; tail = node; }
    return node;
  };
  for (let i = 0; i < text.length;) {
    const one = text[i];
    let found;
    if ((found = at(PLAIN, text, i))) { add({text: found[0]}); i += found[0].length; continue; }
    if (one === "\\") {
      const next = text[i + 1];
      if (next === "\n") { add({name: "br", kids: []}); i += 2; }
      else if (next && /[!-/:-@[-`{-~]/.test(next)) { add({text: next}); i += 2; }
      else { add({text: "\\"}); i++; }
    } else if (one === "\n") {
      if (tail.text?.endsWith("  ")) { tail.text = tail.text.trimEnd(); add({name: "br", kids: []}); }
      else add({text: "\n"});
      i++;
    } else if (one === "`") {
      let size = 1;
      while (text[i + size] === "`") size++;
      const mark = "`".repeat(size);
      let end = without.has(size) ? -1 : text.indexOf(mark, i + size);
      while (end >= 0 && (text[end + size] === "`" || text[end - 1] === "`")) {
        while (text[end] === "`") end++;
        end = text.indexOf(mark, end);
      }
      if (end < 0) without.add(size);
      const isCut = end < 0 && isOpen && size < 3;
      if (end < 0) isUnclosed = true;
      if (end >= 0 || isCut) {
        let code = text.slice(i + size, isCut ? text.length : end).replaceAll("\n", " ");
        if (/^ .*[^ ].* $/.test(code)) code = code.slice(1, -1);
        if (code) add({name: "code", kids: [code]});
        i = isCut ? text.length : end + size;
      } else { add({text: mark}); i += size; }
    } else if (one === "*" || one === "_" || one === "~") {
      let size = 1;
      while (text[i + size] === one) size++;
      const before = text[i - 1] ?? " ", after = text[i + size] ?? " ";
      const [isSpaceBefore, isSpaceAfter] = [/\s/.test(before), /\s/.test(after)];
      const [isMarkBefore, isMarkAfter] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
      const left = !isSpaceAfter && (!isMarkAfter || isSpaceBefore || isMarkBefore);
      const right = !isSpaceBefore && (!isMarkBefore || isSpaceAfter || isMarkAfter);
      const isWord = one === "_", mayTilde = one !== "~" || size === 2;
      const node = add({mark: one, count: size, size, above: last,
        opens: mayTilde && left && (!isWord || !right || isMarkBefore), closes: mayTilde && right && (!isWord || !left || isMarkAfter),
        isLast: i + size === text.length});
      if (last) last.below = node;
      last = node;
      i += size;
    } else if (one === "[" || (one === "!" && text[i + 1] === "[")) {
      const node = add({text: one === "!" ? "![" : "[", bracket: true});
      // A text after it must not flow into it.
      brackets.push({node, marks: last, start: i});
      add({});
      i += one === "!" ? 2 : 1;
    } else if (one === "]") {
      const open = brackets.pop();
      const target = open && at(TARGET, text, i + 1);
      const isCut = open && !target && isOpen && at(CUT_TARGET, text, i + 1);
      const address = target ? (target[1] ?? target[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1") : "";
      if (isCut || (target && isSafe(address) && !open.isInLink)) {
        emphasise(open.marks, false);
        last = open.marks;
        if (last) last.below = null;
        const kids = wrapped(open.node, null);
        tail = open.node.previous;
        tail.next = null;
        // A picture is a link to it, unless it is in a link.
        const isLink = target && !(open.node.text === "![" && brackets.length);
        const node = add({name: isLink ? "a" : "span", first: kids, href: isLink ? address : "", depth: 1 + deepest(kids)});
        if (isLink) for (const outer of brackets) outer.isInLink = true;
        i = target ? i + 1 + target[0].length : text.length;
        if (node.depth > DEEPEST) { node.first = null; node.kids = [text.slice(open.start, i)]; node.depth = 1; }
      } else { add({text: "]"}); i++; }
    } else if (one === "<" && (found = at(IN_BRACKETS, text, i))) {
      add({name: "a", href: found[1], kids: [found[1].replace(/^mailto:/i, "")]});
      i += found[0].length;
    } else if (one === "<" && (found = at(BREAK, text, i))) {
      add({name: "br", kids: []});
      i += found[0].length;
    } else if (one === "&" && (found = at(ENTITY, text, i))) {
      const code = found[1] ? parseInt(found[1]) : found[2] ? parseInt(found[2], 16) : 0;
      add({text: found[3] ? ENTITIES[found[3]] : code > 0 && code < 0x110000 ? String.fromCodePoint(code) : "\ufffd"});
      i += found[0].length;
    } else if (one === "h" && !/\w/.test(text[i - 1] ?? "") && !brackets.length && (found = at(ADDRESS, text, i))) {
      let address = found[0].replace(/[.,;:!?'*_~\]]+$/, "");
      if (address.endsWith(")") && !address.includes("(")) address = address.replace(/[).,;:!?'*_~\]]+$/, "");
      if (isSafe(address)) add({name: "a", href: address, kids: [address]});
      else add({text: address});
      i += address.length;
    } else { add({text: one}); i++; }
  }
  emphasise(null, isOpen);
  const kids = list(head.next);
  kids.isUnclosed = isUnclosed;
  return kids;

  // CommonMark's pairs of marks, from the one above which they count.
  function emphasise(above, isOpen) {
    const bottoms = {};
    let closer = last;
    if (closer === above) return;
    while (closer && closer.above !== above) closer = closer.above;
    while (closer) {
      if (!closer.closes) { closer = closer.below; continue; }
      const kind = closer.mark + closer.opens + closer.size % 3;
      let opener = closer.above;
      while (opener && opener !== above && opener !== bottoms[kind]) {
        const odd = (closer.opens || opener.closes) && (opener.size + closer.size) % 3 === 0
          && (opener.size % 3 !== 0 || closer.size % 3 !== 0);
        if (opener.mark === closer.mark && opener.opens && !odd) break;
        opener = opener.above;
      }
      if (!opener || opener === above || opener === bottoms[kind]) {
        bottoms[kind] = closer.above;
        closer = closer.below;
        continue;
      }
      const used = opener.count >= 2 && closer.count >= 2 ? 2 : 1;
      // Marks between them are text.
      opener.below = closer;
      closer.above = opener;
      if (!pair(opener, closer, used)) { remove(opener); continue; }
      if (!opener.count) remove(opener);
      if (!closer.count) { const next = closer.below; remove(closer); closer = next; }
    }
    for (let node = last; node && node !== above; node = node.above) {
      if (!node.opens && !node.isLast) continue;
      isUnclosed ||= node.opens;
      if (!isOpen) break;
      // A mark that has just begun is not shown.
      if (node.isLast) node.count = 0;
      let fits = true;
      while (fits && node.count > 0) {
        fits = pair(node, null, node.count >= 2 ? 2 : 1);
        if (node.mark === "~") node.count = 0;
      }
      if (!fits) break;
    }
    if (above) above.below = null;
    last = above;
  }

  function remove(mark) {
    if (mark.above) mark.above.below = mark.below;
    if (mark.below) mark.below.above = mark.above;
    else last = mark.above;
  }

  // Puts what is between two marks, or after the one, into an element.
  function pair(opener, closer, used) {
    const first = wrapped(opener, closer);
    const depth = 1 + deepest(first);
    if (depth > DEEPEST || !first) {
      // Back to where it was.
      relink(opener, first, closer);
      return false;
    }
    opener.count -= used;
    if (closer) closer.count -= used;
    const name = opener.mark === "~" ? "del" : used === 2 ? "strong" : "em";
    relink(opener, {name, first, depth}, closer);
    return true;
  }

  function wrapped(from, to) {
    const first = from.next;
    if (first === to) return null;
    const end = to ? to.previous : tail;
    end.next = null;
    return first;
  }

  function relink(from, first, to) {
    from.next = first ?? to;
    if (first) first.previous = from;
    let end = first ?? from;
    while (end !== to && end.next) end = end.next;
    if (end !== to) { end.next = to; }
    if (to) to.previous = end;
    else tail = end;
  }
}

function deepest(node) {
  let depth = 0;
  for (; node; node = node.next) depth = Math.max(depth, node.depth ?? 0);
  return depth;
}

// A chain of nodes as `patch` wants it, with neighbouring texts as one.
function list(node) {
  const kids = [];
  for (; node; node = node.next) {
    const kid = node.name ? {name: node.name, href: node.href, kids: node.kids ?? list(node.first)}
      : node.mark ? node.mark.repeat(node.count) : node.text ?? "";
    if (typeof kid === "string" && typeof kids.at(-1) === "string") kids[kids.length - 1] += kid;
    else if (kid !== "") kids.push(kid);
  }
  return kids;
}
