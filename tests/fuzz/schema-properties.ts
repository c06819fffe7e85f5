import { resolved, type Schema } from "./from-schema.ts";

/** Other platforms' properties, and what says nothing of a container. */
const BESIDE = /^\/(solaris|windows|vm|zos|freebsd)$/;

/** Counts documents, and knows which properties of the schema none of them had. */
export function coverageOf(schema: Schema) {
  const seen = new Set<string>();
  let documents = 0;
  return {
    add(document: string): void {
      documents++;
      collect(schema, schema, JSON.parse(document), "", seen);
    },
    documents: () => documents,
    missing: () => allOf(schema, schema, "").filter((place) => !seen.has(place) && !BESIDE.test(place)),
  };
}

function collect(schema: Schema, root: Schema, value: unknown, place: string, seen: Set<string>): void {
  seen.add(place);
  const { properties = {}, additionalProperties, items } = resolved(schema, root);
  const isLeaf = Object.keys(properties).length === 0 && additionalProperties === undefined && items === undefined;
  if (isLeaf || typeof value !== "object" || value === null) return;
  for (const [name, child] of Object.entries(value)) {
    if (Array.isArray(value)) collect(items ?? {}, root, child, `${place}/*`, seen);
    else if (Object.hasOwn(properties, name)) collect(properties[name]!, root, child, `${place}/${name}`, seen);
    else if (additionalProperties !== undefined) collect(additionalProperties, root, child, `${place}/*`, seen);
  }
}

function allOf(schema: Schema, root: Schema, place: string): string[] {
  const { properties = {}, additionalProperties, items } = resolved(schema, root);
  const own = Object.entries(properties).flatMap(([name, child]) => allOf(child, root, `${place}/${name}`));
  const others = [items, additionalProperties].filter((child) => child !== undefined);
  return [place, ...own, ...others.flatMap((child) => allOf(child, root, `${place}/*`))];
}
