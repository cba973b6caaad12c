/**
 * A client of Tor's control port: asks, and hears events. It speaks the protocol of Tor's control-spec
 * only as far as `asfaleia start` and the tests' private network need it. It must not be used by the
 * relay process, and hands no reply on to a log: replies and events can name onion addresses.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'

export interface Control {
  /**
   * Sends one command.
   * @returns the reply's lines without their status codes, the final `OK` among them.
   * @throws Error if tor refuses the command or the connection ends first.
   */
  ask(command: string): Promise<string[]>
  /** Calls `listener` with every asynchronous event that SETEVENTS asked for; returns the way to stop it. */
  onEvent(listener: (event: string) => void): () => void
  close(): void
}

/**
 * Opens the control socket of a tor and proves, by its cookie file, that we may.
 * @param path a unix socket; tor's cookie file must be readable.
 */
export async function openControl(path: string): Promise<Control> {
  const socket = connect({ path })
  await once(socket, 'connect')
  socket.setEncoding('utf8')

  const waiting: { resolve: (lines: string[]) => void; reject: (error: Error) => void }[] = []
  const listeners = new Set<(event: string) => void>()
  let rest = ''
  let reply: string[] = []
  // Inside the lines that follow a `250+key=`, up to the line that is a lone dot.
  let inData = false

  const onLine = (line: string): void => {
    if (inData) {
      if (line === '.') inData = false
      else reply.push(line.startsWith('.') ? line.slice(1) : line)
      return
    }
    reply.push(line.slice(4))
    inData = line[3] === '+'
    if (line[3] !== ' ') return
    const lines = reply
    reply = []
    if (line.startsWith('6')) {
      for (const listener of listeners) listener(lines.join('\n'))
    } else if (line.startsWith('2')) {
      waiting.shift()?.resolve(lines)
    } else {
      waiting.shift()?.reject(new Error(`tor refused a control command: ${line}`))
    }
  }
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\r\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
  // 'close' follows and tells those who wait.
  socket.on('error', () => {})
  socket.on('close', () => {
    for (const { reject } of waiting.splice(0)) reject(new Error('the control connection ended'))
  })

  const control: Control = {
    ask: (command) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) {
          reject(new Error('the control connection ended'))
          return
        }
        waiting.push({ resolve, reject })
        socket.write(`${command}\r\n`)
      }),
    onEvent(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => socket.destroy(),
  }
  try {
    const info = (await control.ask('PROTOCOLINFO 1')).join('\n')
    const cookie = /COOKIEFILE="((?:[^"\\]|\\.)*)"/.exec(info)?.[1]?.replace(/\\(.)/g, '$1')
    await control.ask(`AUTHENTICATE ${cookie === undefined ? '' : (await readFile(cookie)).toString('hex')}`)
  } catch (error) {
    control.close()
    throw error
  }
  return control
}
