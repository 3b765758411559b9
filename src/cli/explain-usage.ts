/** @file What is wrong with a command line, in one line that names what was meant. */

import { nearest, suggestKey } from '../config/suggest-key.ts';
import type { Command } from './command.ts';

/** Options that every command has. */
const commonOptions = ['help', 'version', 'debug'] as const;

function unknownOption(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near) return `unknown option --${name}; did you mean --${near}?`;
  const path = name.split('.');
  const { key, hint } = suggestKey(path.slice(0, -1), path.at(-1)!);
  if (key === null) return `unknown option --${name}`;
  const why = hint.startsWith('did you mean') ? 'a value of the configuration is given' : hint;
  return `unknown option --${name}; ${why}: --set ${key}=…`;
}

function unknownArgument(name: string, commands: readonly Command[], first: boolean): string {
  if (/\.ya?ml$/i.test(name)) return `${name}: give a configuration as --config ${name}`;
  if (/\.safetensors$/i.test(name) && first) {
    return `${name}: to look at a file, sdl-train inspect ${name}`;
  }
  if (!first) return `unexpected argument ${name}`;
  const names = commands.map((command) => command.name);
  const near = nearest(name, names);
  const help = near ? `did you mean ${near}?` : `the commands are ${names.join(', ')}`;
  return `unknown command ${name}; ${help}`;
}

/**
 * The message for an error of the parser.
 * @param message as yargs has it
 * @param argv what was typed
 */
export function explainUsage(
  message: string,
  argv: readonly string[],
  commands: readonly Command[],
): string {
  const named = commands.find(({ name }) => name === argv.find((word) => !word.startsWith('-')));
  const unknown = /^Unknown (?:argument|command|option)s?: (.*)$/.exec(message)?.[1];
  if (unknown !== undefined) {
    const names = unknown.split(', ');
    const words = argv.filter((word) => !word.startsWith('-'));
    const positional = names.find((name) => words.includes(name));
    const option = names.find((name) =>
      argv.some((word) => /^-/.test(word) && word.includes(name)),
    );
    if (option !== undefined) {
      const own = named ? [named] : commands.filter(({ name }) => name === 'train');
      const known = [...own.flatMap(({ options }) => options), ...commonOptions];
      return unknownOption(option, known);
    }
    return unknownArgument(positional ?? names[0]!, commands, !named);
  }
  const choice = /Argument: (.*), Given: (.*), Choices: (.*)/.exec(message);
  if (choice) return `--${choice[1]} ${choice[2]}: expected one of ${choice[3]}`;
  const required = /^Missing required argument: (.*)$/.exec(message)?.[1];
  if (required !== undefined) return `--${required} is missing`;
  const lacking = /^Not enough arguments following: (.*)$/.exec(message)?.[1];
  if (lacking !== undefined) return `--${lacking} needs a value`;
  if (/^Not enough non-option arguments/.test(message)) {
    return `${named?.name ?? 'the command'} needs a file`;
  }
  return message.split('\n')[0] ?? message;
}
