#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { envName } from '../config/names.js';
import { packageRoot } from '../config/paths.js';
import type { Sources } from '../config/resolve.js';
import { GenerateSettings, ServeSettings } from '../config/settings.js';
import { STAGES } from '../train/settings.js';
import { compare } from './compare.js';
import { generate } from './generate.js';
import { addSettings } from './options.js';
import { serve } from './serve.js';
import { train } from './train.js';

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

program
  .command('train')
  .description('teach a model to reason in parallel, stage by stage')
  .requiredOption('--config <file>', 'JSON file of the run: model, data, stages')
  .addOption(
    new Option('--stage <name>', 'the stage to run; all: those that the file has')
      .choices([...STAGES, 'all'])
      .default('all'),
  )
  .option('--resume', 'go on with the run that the output folder holds')
  .option('--output <dir>', "folder of the run, in place of the file's")
  .option('--seed <n>', "in place of the file's")
  .addHelpText('after', '\nAn interrupt (Ctrl-C) ends the run after the running step, with a checkpoint.')
  .action((flags) => train(flags));

program
  .command('compare')
  .argument('<run...>', 'output folders of training runs; of several the mean is shown')
  .description("what each stage came to: its model on the run's held-out questions, by family of tasks")
  .option('--alone <n>', 'questions of a family asked one at a time, to see how long one answer takes', '8')
  .option('--json <file>', 'write all figures here, too')
  .action((runs: string[], flags) => compare(runs, flags));

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
