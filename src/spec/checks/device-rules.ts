import type { Resources } from "../types.ts";
import { addFault, type ConfigCheck, type Report } from "./report.ts";

/** config-linux.md "Allowed Device list". */
export const deviceRulesMakeSense: ConfigCheck = ({ linux }, report) => {
  checkDeviceRules(linux?.resources?.devices, "/linux/resources/devices", report);
};

/** Also for the rules of an update, which stand elsewhere. */
export function checkDeviceRules(rules: Resources["devices"], pointer: string, report: Report): void {
  for (const [at, { type = "", access = "", major, minor }] of (rules ?? []).entries()) {
    if (!["", "a", "b", "c"].includes(type)) {
      addFault(report, `${pointer}/${at}/type`, `found ${JSON.stringify(type)}`, '"a", "b" or "c"');
    }
    if (!/^[rwm]*$/.test(access)) {
      addFault(report, `${pointer}/${at}/access`, `found ${JSON.stringify(access)}`, "letters of r, w and m");
    }
    for (const [name, number] of [["major", major] as const, ["minor", minor] as const]) {
      if (number === undefined || number >= -1) continue;
      addFault(report, `${pointer}/${at}/${name}`, `found ${number}`, "0 or more, or -1 for any");
    }
  }
}
