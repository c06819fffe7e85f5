import { isDigits } from "../text.ts";
export interface ProcessStat {
  /** One letter: R S D Z T t X I. */
  readonly state: string;
  /** PF_EXITING of linux/sched.h: on its way to becoming a zombie, since 2.6.12. */
  readonly exiting: boolean;
  /** Those that live, and the first one even when it has ended. */
  readonly threads: number;
  /** Clock ticks after boot. */
  readonly startTime: number;
}

/** The text of /proc/<pid>/stat (proc_pid_stat(5)); the name in it may hold spaces, parentheses and line feeds. */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTime = fields[22 - 3];
  if (startTime === undefined || !isDigits(startTime)) return undefined;
  const PF_EXITING = 4;
  return {
    state: fields[0]!,
    exiting: (Number(fields[9 - 3]) & PF_EXITING) !== 0,
    threads: Number(fields[20 - 3]),
    startTime: Number(startTime),
  };
}
