/** A line of /proc/<pid>/mountinfo (proc(5)). */
export interface MountLine {
  readonly point: string;
  /** `ext4`, `fuse.sshfs`. */
  readonly type: string;
  /** Of the mount, not of the file system: `nosuid`. */
  readonly options: readonly string[];
}

/** In the order in which they were mounted: of two on one point, the later one is seen. */
export function parseMountinfo(text: string): MountLine[] {
  const lines: MountLine[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const dash = fields.indexOf("-", 6);
    const [point, options, type] = [fields[4], fields[5], fields[dash + 1]];
    if (dash < 0 || point === undefined || options === undefined || type === undefined) continue;
    lines.push({ point: unescaped(point), type, options: options.split(",") });
  }
  return lines;
}

/** Space, tab, newline and backslash are octal there. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
