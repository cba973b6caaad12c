/** Runs the client's commands in this process, and makes a folder of keys for them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generatePrivateKey, parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { runCommand } from '../../src/cli/command.ts'
import { createTestIo } from './terminal.ts'

export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command line in this process, as src/cli/main.ts does. */
export async function asfaleia(
  argv: readonly string[],
  options: { input?: string | Uint8Array; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const io = createTestIo(options.env)
  io.stdin.end(options.input)
  const code = await runCommand(argv, io)
  return { code, out: io.out(), err: io.err() }
}

export interface KeyFolder {
  readonly path: string
  /** Makes an ed25519 key in the files NAME and NAME.pub. */
  make(name: string): { readonly file: string; readonly line: string; readonly key: SshPrivateKey }
  remove(): void
}

export function createKeyFolder(): KeyFolder {
  const path = mkdtempSync(join(tmpdir(), 'asfaleia-keys-'))
  return {
    path,
    make(name) {
      const { file: text, public: line } = generatePrivateKey(name)
      const file = join(path, name)
      writeFileSync(file, text, { mode: 0o600 })
      writeFileSync(`${file}.pub`, `${line}\n`)
      return { file, line, key: parsePrivateKey(Buffer.from(text)) }
    },
    remove: () => rmSync(path, { recursive: true }),
  }
}
