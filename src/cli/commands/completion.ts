/** `asfaleia completion`: prints completions for a shell, or the man page, from the pages of all commands. */
import { readCommandLine } from '../program/arguments.ts'
import { buildBash, buildFish, buildZsh } from '../program/completion.ts'
import { EXIT } from '../program/exit.ts'
import type { Run } from '../program/io.ts'
import { buildManual } from '../program/manual.ts'
import type { Entry, Page } from '../program/page.ts'
import { PACKAGE_VERSION } from '../../version.ts'

export const page = {
  name: 'completion',
  text: 'Prints completions for a shell, or the man page. The completions include the names of your contacts and groups.',
  verbs: {
    bash: {
      summary: 'print completions for bash',
      examples: [['switch them on in this shell', 'source <(asfaleia completion bash)']],
    },
    zsh: {
      summary: 'print completions for zsh',
      text: 'Write them to a file named _asfaleia in a folder of $fpath.',
      examples: [['write them to a folder of $fpath', 'asfaleia completion zsh > ~/.zfunc/_asfaleia']],
    },
    fish: {
      summary: 'print completions for fish',
      examples: [['write them to the file that fish reads', 'asfaleia completion fish > ~/.config/fish/completions/asfaleia.fish']],
    },
    man: {
      summary: 'print the man page',
      examples: [['read the man page', 'asfaleia completion man | man -l -']],
    },
  },
  examples: [['switch completions on in bash', 'source <(asfaleia completion bash)']],
} as const satisfies Page

/** @param readPages gives the pages of all commands, this one among them */
export function createRun(readPages: () => Promise<readonly Entry[]>): Run {
  return async (argv, io) => {
    const given = readCommandLine(argv, io, page)
    if (given === undefined) return EXIT.ok
    const entries = await readPages()
    switch (given.verb) {
      case 'bash':
        io.stdout.write(buildBash(entries))
        return EXIT.ok
      case 'zsh':
        io.stdout.write(buildZsh(entries))
        return EXIT.ok
      case 'fish':
        io.stdout.write(buildFish(entries))
        return EXIT.ok
      case 'man':
        io.stdout.write(buildManual(entries, PACKAGE_VERSION))
        return EXIT.ok
    }
  }
}
