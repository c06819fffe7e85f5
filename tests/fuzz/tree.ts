/** JSON as text has it, where JSON.parse is too kind: names twice, digits of any number, `__proto__`. */
export type Tree =
  | { readonly kind: "object"; readonly members: [name: string, value: Tree][] }
  | { readonly kind: "array"; readonly items: Tree[] }
  | { readonly kind: "raw"; readonly text: string };

export function object(members: readonly (readonly [string, Tree])[]): Tree {
  return { kind: "object", members: members.map(([name, value]) => [name, value]) };
}

export function array(items: readonly Tree[]): Tree {
  return { kind: "array", items: [...items] };
}

/** A text that stands in the document as it is. */
export function raw(text: string): Tree {
  return { kind: "raw", text };
}

export function text(value: string): Tree {
  return raw(JSON.stringify(value));
}

export function number(value: number | bigint): Tree {
  return raw(String(value));
}

export function texts(values: readonly string[]): Tree {
  return array(values.map(text));
}

/** The tree of an ordinary value. */
export function treeOf(value: unknown): Tree {
  if (Array.isArray(value)) return array(value.map(treeOf));
  if (typeof value !== "object" || value === null)
    return raw(typeof value === "bigint" ? String(value) : JSON.stringify(value));
  return object(Object.entries(value).map(([name, child]) => [name, treeOf(child)] as const));
}

export function write(tree: Tree): string {
  const parts: string[] = [];
  writeTo(parts, tree);
  return parts.join("");
}

function writeTo(parts: string[], tree: Tree): void {
  if (tree.kind === "raw") parts.push(tree.text);
  else if (tree.kind === "array") {
    parts.push("[");
    for (const [at, item] of tree.items.entries()) {
      if (at > 0) parts.push(",");
      writeTo(parts, item);
    }
    parts.push("]");
  } else {
    parts.push("{");
    for (const [at, [name, value]] of tree.members.entries()) {
      parts.push(at > 0 ? "," : "", JSON.stringify(name), ":");
      writeTo(parts, value);
    }
    parts.push("}");
  }
}

/** The value of a name; the last one where there are more, as JSON.parse has it. */
export function member(tree: Tree | undefined, name: string): Tree | undefined {
  return tree?.kind === "object" ? tree.members.findLast(([other]) => other === name)?.[1] : undefined;
}

/** The object without these names. */
export function without(tree: Tree, ...names: readonly string[]): Tree {
  if (tree.kind !== "object") return tree;
  return object(tree.members.filter(([name]) => !names.includes(name)));
}

/** The object with this value for the name. */
export function withMember(tree: Tree, name: string, value: Tree): Tree {
  const rest = without(tree, name);
  return rest.kind === "object" ? object([...rest.members, [name, value]]) : rest;
}

export function copy(tree: Tree): Tree {
  if (tree.kind === "object") return object(tree.members.map(([name, value]) => [name, copy(value)] as const));
  return tree.kind === "array" ? array(tree.items.map(copy)) : tree;
}

/** A place in a tree, whose value can be changed, taken away or repeated. */
export interface Place {
  readonly value: Tree;
  readonly set: (value: Tree) => void;
  readonly remove: () => void;
  /** Again, behind itself; under `name` in an object, its own where undefined. */
  readonly repeat: (name?: string) => void;
}

/** Every place below the root, in the order of the text. */
export function placesIn(tree: Tree): Place[] {
  const places: Place[] = [];
  const list: [string, Tree][] | Tree[] =
    tree.kind === "object" ? tree.members : tree.kind === "array" ? tree.items : [];
  for (const [at, entry] of [...list.entries()]) {
    const value = tree.kind === "object" ? (entry as [string, Tree])[1] : (entry as Tree);
    places.push(placeIn(tree, at, value), ...placesIn(value));
  }
  return places;
}

function placeIn(tree: Tree, at: number, value: Tree): Place {
  if (tree.kind === "object") {
    const [name] = tree.members[at]!;
    return {
      value,
      set: (changed) => void tree.members.splice(at, 1, [name, changed]),
      remove: () => void tree.members.splice(at, 1),
      repeat: (other = name) => void tree.members.splice(at + 1, 0, [other, value]),
    };
  }
  const { items } = tree as { items: Tree[] };
  return {
    value,
    set: (changed) => void items.splice(at, 1, changed),
    remove: () => void items.splice(at, 1),
    repeat: () => void items.splice(at + 1, 0, value),
  };
}
