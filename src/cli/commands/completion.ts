/**
 * `asfaleia completion`: completions for shells, and the man page. Both are read off what every command says of itself
 * by `--help`, so that they cannot say anything else.
 */
import { PassThrough, Writable } from 'node:stream'
import { openCommandLine } from '../program/arguments.ts'
import type { Command } from '../command.ts'
import { buildBash, buildFish, buildZsh } from '../program/completion.ts'
import { buildManual } from '../program/manual.ts'
import { parseHelp, type Page } from '../program/page.ts'
import { UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io, Run } from '../program/io.ts'
import { PACKAGE_VERSION } from '../../version.ts'

const USAGE = 'asfaleia completion bash|zsh|fish|man'

const HELP = `usage: ${USAGE}

Prints completions for a shell, or the man page: for bash \`source <(asfaleia completion bash)\`, for zsh a file _asfaleia in a
folder of $fpath, for fish ~/.config/fish/completions/asfaleia.fish. Names of contacts and groups are completed, too.

  -h, --help     this text
`

/** @param commands all that there are, this one among them */
export function createRun(commands: Readonly<Record<string, Command>>): Run {
  return (argv, io) => run(argv, io, commands)
}

async function run(argv: string[], io: Io, commands: Readonly<Record<string, Command>>): Promise<number> {
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options: {} })
  if (given === undefined) return EXIT.ok
  const [what, ...more] = given.positionals
  if (what === undefined || more.length > 0) throw new UsageError('bash, zsh, fish or man is wanted', { hint: USAGE })
  const pages = await readPages(commands)
  switch (what) {
    case 'bash':
      io.stdout.write(buildBash(pages))
      return EXIT.ok
    case 'zsh':
      io.stdout.write(buildZsh(pages))
      return EXIT.ok
    case 'fish':
      io.stdout.write(buildFish(pages))
      return EXIT.ok
    case 'man':
      io.stdout.write(buildManual(pages, PACKAGE_VERSION))
      return EXIT.ok
  }
  throw new UsageError('bash, zsh, fish or man is wanted', { hint: USAGE })
}

/** What each command says of itself. */
export async function readPages(commands: Readonly<Record<string, Command>>): Promise<readonly Page[]> {
  const pages: Page[] = []
  for (const [name, { about, load }] of Object.entries(commands)) {
    const { run } = await load()
    let help = ''
    const stdout = new Writable({
      write(chunk: Buffer, _encoding, done) {
        help += chunk.toString()
        done()
      },
    })
    await run(['--help'], { stdin: new PassThrough(), stdout, stderr: stdout, env: {}, signal: new AbortController().signal })
    pages.push(parseHelp(name, about, help))
  }
  return pages
}
