/** What the names of all begin with that a process of the fuzzing makes: containers, cgroups, directories. */
export function markOf(pid: number): string {
  return `f${pid}-`;
}
