/** @file What a command of `sdl-train` is: its options for yargs, and what it does. */

import type { Argv, InferredOptionTypes, Options } from 'yargs';
import type { Terminal } from './terminal.ts';

/** Does what was asked for; the number is the exit status. */
export type Action = (terminal: Terminal) => Promise<number>;

/** A command as the command line sees it. */
export interface Command {
  readonly name: string;
  /** Names of its own options, without dashes. */
  readonly options: readonly string[];
  /** Adds it to `parser`; `choose` is called when it is the one that was asked for. */
  register(parser: Argv, choose: (action: Action) => void): Argv;
}

/** A command with the types of its options. */
export interface CommandDefinition<O extends Readonly<Record<string, Options>>> {
  readonly name: string;
  /** What `sdl-train` does where no command is named. */
  readonly isDefault?: boolean;
  readonly summary: string;
  /** One argument without dashes, required. */
  readonly argument?: { readonly name: string; readonly describe: string };
  readonly options: O;
  readonly examples?: readonly (readonly [command: string, what: string])[];
  /** @param argument the value of `argument`, '' where there is none */
  readonly run: (
    options: InferredOptionTypes<O>,
    terminal: Terminal,
    argument: string,
  ) => Promise<number>;
}

/** Options of the commands that read a configuration. */
export const configOptions = {
  config: {
    type: 'string',
    requiresArg: true,
    describe: 'The configuration, a YAML file',
  },
  set: {
    type: 'string',
    array: true,
    nargs: 1,
    describe: 'Another value for one key, as --set train.steps=500; may be repeated',
  },
  'print-config': {
    type: 'boolean',
    default: false,
    describe: 'Print all values with their origin, and stop',
  },
} as const;

/** Makes a command whose `run` sees its options by their types. */
export function defineCommand<const O extends Readonly<Record<string, Options>>>({
  name,
  isDefault = false,
  summary,
  argument,
  options,
  examples = [],
  run,
}: CommandDefinition<O>): Command {
  const usage = argument ? `${name} <${argument.name}>` : name;
  return {
    name,
    options: Object.keys(options),
    register: (parser, choose) =>
      parser.command(
        isDefault ? [usage, '$0'] : usage,
        summary,
        (own) => {
          const withOptions = own.options(options).example(examples.map((e) => [...e]));
          if (!argument) return withOptions;
          const { describe } = argument;
          return withOptions.positional(argument.name, { type: 'string', describe });
        },
        (args) => {
          const values = args as unknown as InferredOptionTypes<O>;
          const given = argument ? String(args[argument.name] ?? '') : '';
          choose((terminal) => run(values, terminal, given));
        },
      ),
  };
}
