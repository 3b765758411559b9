/** @file A base on the Hugging Face hub becomes a path; the download is shown. */

import { checkPaths } from '../config/check-paths.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { HubProgress } from '../hub/fetch-model.ts';
import { formatBytes } from './format-units.ts';
import type { Terminal } from './terminal.ts';

/** Between two drawings of the line, in milliseconds. */
const drawEvery = 200;

/** Draws one line again and again, or says once what is coming where nothing can be drawn. */
function showProgress(terminal: Terminal, repo: string) {
  let drawnAt = 0;
  let isSaid = false;
  return {
    update: ({ path, done, total }: HubProgress) => {
      const columns = terminal.liveColumns();
      if (columns === null && !isSaid) {
        terminal.complain(`downloading ${repo}, ${formatBytes(total)}`);
        isSaid = true;
      }
      const now = Date.now();
      if (columns === null || (now - drawnAt < drawEvery && done < total)) return;
      drawnAt = now;
      const percent = Math.floor((100 * done) / Math.max(total, 1));
      const line = `downloading  ${formatBytes(done)} of ${formatBytes(total)}  ${percent} %  ${path}`;
      terminal.draw(`\r\u001b[K${line.slice(0, columns - 1)}`);
    },
    end: () => {
      if (drawnAt > 0) terminal.draw('\r\u001b[K');
    },
  };
}

/**
 * Gets the base from the hub where it is there; nothing is asked of any server otherwise.
 * @throws UserError where other paths are missing, or the model cannot be got
 */
export async function fetchBase(loaded: LoadedConfig, terminal: Terminal): Promise<LoadedConfig> {
  const { hubModel, config } = loaded;
  if (hubModel === null) return loaded;
  // Before gigabytes come for a run that could not begin.
  checkPaths(loaded);
  const { fetchModel } = await import('../hub/fetch-model.ts');
  const { update, end } = showProgress(terminal, hubModel.repo);
  try {
    const base = await fetchModel(hubModel, { env: process.env, onProgress: update });
    return { ...loaded, config: { ...config, base }, hubModel: null };
  } finally {
    end();
  }
}
