/** @file From the command line to a command, and from what it throws to a message and an exit status. */

import { readFileSync } from 'node:fs';
import yargs from 'yargs';
import { UserError } from '../tensor/user-error.ts';
import { checkCommand } from './check.ts';
import type { Action } from './command.ts';
import { convertCommand } from './convert.ts';
import { doctorCommand } from './doctor.ts';
import { inspectCommand } from './inspect.ts';
import { reportError } from './report-error.ts';
import type { Terminal } from './terminal.ts';
import { trainCommand } from './train.ts';

const commands = [trainCommand, checkCommand, inspectCommand, convertCommand, doctorCommand];

/** Version of this program, from its package. */
function packageVersion(): string {
  // The same from src/cli and from dist/cli.
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function makeParser(choose: (action: Action) => void) {
  const parser = yargs()
    .scriptName('sdl-train')
    .locale('en')
    .parserConfiguration({
      'dot-notation': false,
      'boolean-negation': false,
      'camel-case-expansion': false,
      'parse-positional-numbers': false,
    })
    .usage('Trains Stable Diffusion LoRAs.\n\nUsage: $0 --config FILE, or $0 <command>')
    .option('debug', { type: 'boolean', default: false, describe: 'Print stacks of errors' })
    .help('help', 'Print this help')
    .version('version', 'Print the version', packageVersion())
    .strict()
    .exitProcess(false)
    .fail(false)
    .wrap(100);
  for (const command of commands) command.register(parser, choose);
  return parser;
}

/** The command that is asked for, or the text that answers `--help` and `--version`. */
async function parse(argv: readonly string[]): Promise<Action | string> {
  let action: Action | undefined;
  let output = '';
  const parser = makeParser((chosen) => {
    action = chosen;
  });
  try {
    await parser.parseAsync([...argv], {}, (_error, _args, text) => {
      output = text;
    });
  } catch (error) {
    const { explainUsage } = await import('./explain-usage.ts');
    const { message } = error as Error;
    const named = commands.find(({ name }) => name === argv[0])?.name;
    const hint = `see sdl-train ${named ? `${named} ` : ''}--help`;
    throw new UserError(`${explainUsage(message, argv, commands)}\n${hint}`, 2);
  }
  return output || action || '';
}

/**
 * Runs one command line.
 * @param argv without the program itself
 * @returns the exit status: 0, 1 for what went wrong, 2 for a wrong command line or configuration,
 * 130 for a run that was stopped
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const parsed = await parse(argv);
    if (typeof parsed !== 'string') return await parsed(terminal);
    terminal.print(parsed);
    return 0;
  } catch (error) {
    const { text, exitCode } = reportError(error, { debug: argv.includes('--debug') });
    terminal.complain(text);
    return exitCode;
  }
}
