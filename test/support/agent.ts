/** SSH agents for tests: the real one, and one whose answers the test chooses. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export interface RealAgent {
  readonly path: string
  /** Runs ssh-add against this agent; `word` answers its question for a passphrase. @returns its output */
  add(args: readonly string[], word?: string): string
  /** Kills the agent, so that its socket stays behind. */
  stop(): Promise<void>
}

/** Starts an ssh-agent that ends with the test. `consents` answers its questions whether a key may be used. */
export async function startAgent(options: { consents?: boolean } = {}): Promise<RealAgent> {
  const folder = makeFolder()
  const path = join(folder, 'agent')
  const askpass = writeScript(
    join(folder, 'ask'),
    `[ "$SSH_ASKPASS_PROMPT" = confirm ] && exit ${options.consents === true ? 0 : 1}; cat ${folder}/word`,
  )
  const env = { ...process.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: ':0' }
  const child = spawn('ssh-agent', ['-D', '-a', path], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(child, 'exit')
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  onTestFinished(stop)
  // It prints the socket's name once it listens.
  await once(child.stdout, 'data')
  return {
    path,
    add(args, word = '') {
      writeFileSync(join(folder, 'word'), `${word}\n`)
      return execFileSync('ssh-add', args, { env: { ...env, SSH_AUTH_SOCK: path }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    },
    stop,
  }
}

function writeScript(path: string, text: string): string {
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o700 })
  return path
}

/**
 * Starts a unix socket that answers each request (without its length) with exactly the bytes that `answer`
 * returns.
 */
export async function startFakeAgent(answer: (request: Buffer, socket: Socket) => Uint8Array | undefined): Promise<string> {
  const path = join(makeFolder(), 'agent')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let got = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      if (got.length < 4 || got.length < 4 + got.readUInt32BE()) return
      const bytes = answer(got.subarray(4), socket)
      got = Buffer.alloc(0)
      if (bytes !== undefined) socket.write(bytes)
    })
  })
  server.listen(path)
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return path
}

/**
 * Makes a folder that is removed when the test ends. Its path is short, because a socket's path has at most 107
 * bytes.
 */
function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-agent-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
