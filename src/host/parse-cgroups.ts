/** A hierarchy as /proc/<pid>/cgroup names it. */
export interface CgroupLine {
  /** v1: `["cpu", "cpuacct"]`, or `["name=systemd"]`; v2: empty. */
  readonly controllers: readonly string[];
  /** From the hierarchy's root; may begin with `/..` when it lies outside the reader's cgroup namespace. */
  readonly path: string;
}

/** The text of /proc/<pid>/cgroup (cgroups(7)): `4:cpu,cpuacct:/user.slice`; paths may hold colons. */
export function parseCgroupFile(text: string): CgroupLine[] {
  const lines: CgroupLine[] = [];
  for (const line of text.split("\n")) {
    const controllersAt = line.indexOf(":") + 1;
    const pathAt = line.indexOf(":", controllersAt) + 1;
    if (controllersAt === 0 || pathAt === 0) continue;
    const controllers = line.slice(controllersAt, pathAt - 1);
    lines.push({ controllers: controllers === "" ? [] : controllers.split(","), path: line.slice(pathAt) });
  }
  return lines;
}

/** Where a v1 hierarchy is mounted by custom, the likeliest first. */
export function likelyMounts(root: string, controllers: readonly string[]): string[] {
  const names = controllers.map((controller) => (controller.startsWith("name=") ? controller.slice(5) : controller));
  if (names.length === 1) return [`${root}/${names[0]}`];
  // Distributions mount co-mounted controllers in either order and link the single names to it.
  return [names.join(","), [...names].reverse().join(","), ...names].map((name) => `${root}/${name}`);
}
