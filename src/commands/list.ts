import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { loadContainer } from "../container/load.ts";
import { type ContainerView, containerView } from "../container/state-document.ts";
import { errorMessage } from "../errors.ts";
import { stateRoot } from "../state/root.ts";
import { listContainers } from "../state/store.ts";
import { ownerOf } from "./state.ts";

export const listCommand: Command<"list"> = ({ options, globals, warn }) => {
  const root = stateRoot(globals.root);
  const ids = listContainers(root);
  if (options.quiet) {
    print(ids.map((id) => `${id}\n`).join(""));
    return 0;
  }
  const views = viewsOf(root, ids, warn);
  // As Go prints an empty list; its readers take it for one.
  if (options.format === "json") print(`${views.length === 0 ? "null" : JSON.stringify(views)}\n`);
  else print(table(views));
  return 0;
};

/** One broken container does not hide the others. */
function viewsOf(root: string, ids: readonly string[], warn: (message: string) => void): ContainerView[] {
  const views: ContainerView[] = [];
  for (const id of ids) {
    try {
      const { state, status } = loadContainer(root, id);
      views.push(containerView(state, status, ownerOf(state.owner)));
    } catch (error) {
      warn(`container "${id}": ${errorMessage(error)}`);
    }
  }
  return views;
}

const HEADINGS = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/** Columns as runc has them (Go's text/tabwriter): at least 12 wide, 3 of them blank; the last one is as it comes. */
export function table(views: readonly ContainerView[]): string {
  const rows = views.map((view) => [view.id, String(view.pid), view.status, view.bundle, view.created, view.owner]);
  const all = [HEADINGS, ...rows];
  const widths = HEADINGS.map((_, column) => Math.max(12, ...all.map((row) => [...row[column]!].length + 3)));
  return all.map((row) => `${line(row, widths)}\n`).join("");
}

function line(row: readonly string[], widths: readonly number[]): string {
  const last = row.length - 1;
  const pad = (cell: string, column: number) => cell + " ".repeat(widths[column]! - [...cell].length);
  return row.map((cell, column) => (column === last ? cell : pad(cell, column))).join("");
}
