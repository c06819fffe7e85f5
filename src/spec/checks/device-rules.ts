import { addFault, type ConfigCheck } from "./report.ts";

/** config-linux.md "Allowed Device list". */
export const deviceRulesMakeSense: ConfigCheck = ({ linux }, report) => {
  for (const [at, rule] of (linux?.resources?.devices ?? []).entries()) {
    const pointer = `/linux/resources/devices/${at}`;
    const { type = "", access = "" } = rule;
    if (!["", "a", "b", "c"].includes(type)) {
      addFault(report, `${pointer}/type`, `found ${JSON.stringify(type)}`, '"a", "b" or "c"');
    }
    if (!/^[rwm]*$/.test(access)) {
      addFault(report, `${pointer}/access`, `found ${JSON.stringify(access)}`, "letters of r, w and m");
    }
    for (const name of ["major", "minor"] as const) {
      const number = rule[name] ?? 0;
      if (number < -1) addFault(report, `${pointer}/${name}`, `found ${number}`, "0 or more, or -1 for any");
    }
  }
};
