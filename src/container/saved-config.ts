import { TsrunError } from "../errors.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config } from "../spec/types.ts";
import { readSavedConfig } from "../state/store.ts";

/**
 * Calls `act` with the configuration that create has saved. It was checked then, so it is only read; when that leads to
 * an error that is nobody's, the text is checked again, and whoever has broken it is told so.
 */
export function withSavedConfig<T>(directory: number, id: string, act: (config: Config) => T): T {
  const text = readSavedConfig(directory);
  try {
    return act(JSON.parse(text) as Config);
  } catch (error) {
    if (!(error instanceof TsrunError)) mustBeWhole(text, id);
    throw error;
  }
}

function mustBeWhole(text: string, id: string): void {
  try {
    parseConfig(text, "config.json");
  } catch (error) {
    if (!(error instanceof TsrunError)) throw error;
    throw new TsrunError(`cannot read the saved configuration of container "${id}": ${error.message}`, {
      code: "EBADSTATE",
      hint: `remove what is left of the container with tsrun delete --force ${id}`,
    });
  }
}
