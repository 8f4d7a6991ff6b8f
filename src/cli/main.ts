#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { envName } from '../config/names.js';
import { packageRoot } from '../config/paths.js';
import type { Sources } from '../config/resolve.js';
import { GenerateSettings, ServeSettings } from '../config/settings.js';
import { generate } from './generate.js';
import { addSettings } from './options.js';
import { serve } from './serve.js';

const { version, description } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));

const program = new Command('npr-serve')
  .version(version)
  .description(description)
  .showHelpAfterError('(npr-serve --help lists the commands and npr-serve COMMAND --help its settings)');

const precedence = `
A flag beats an environment variable, that the file of --config, that the default.
Sizes are written as 512MiB or 4GiB, times as 30s or 500ms.`;

const serveCommand = program
  .command('serve')
  .description('serve a model over HTTP, in the terms of the OpenAI API')
  .addHelpText('after', precedence)
  .action((flags) => serve(sources(flags)));
addSettings(serveCommand, ServeSettings);

const generateCommand = program
  .command('generate')
  .argument('[prompt]', 'what to ask; read from standard input where left out')
  .description('answer one prompt: on a terminal its branches side by side, elsewhere plain text')
  .addHelpText('after', precedence)
  .action((prompt: string | undefined, flags) => generate(prompt, sources(flags)));
addSettings(generateCommand, GenerateSettings);

function sources({ config, ...flags }: Record<string, unknown>): Sources {
  const file = config ?? process.env[envName('config')];
  return { flags, env: process.env, file: typeof file === 'string' ? file : undefined };
}

try {
  await program.parseAsync();
} catch (error) {
  // The message says what is wrong and where; a stack would only bury it.
  process.stderr.write(`npr-serve: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
