/** Whether a process listens at a unix socket's path: so each relay finds out whether the other one is alive. */
import { connect, type Socket } from 'node:net'

const FIRST_LOOK_MS = 10
const MOST_LOOK_MS = 500

/**
 * Connects to a path.
 * @returns a socket; `gone` if no process listens there; `full` if the process has stopped accepting connections;
 * `unreachable` if this user may not connect
 */
export function reach(path: string): Promise<Socket | 'gone' | 'full' | 'unreachable'> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => resolve(socket))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve('gone')
      else resolve(code === 'EAGAIN' ? 'full' : 'unreachable')
    })
  })
}

/** Whether a process listens at the path now. */
export async function isListening(path: string): Promise<boolean> {
  const reached = await reach(path)
  if (typeof reached === 'object') reached.destroy()
  return reached !== 'gone'
}

/**
 * Waits until a process listens at the path, or until none does.
 * @returns false if this is not so within `ms` milliseconds
 */
export async function waitUntil(wanted: 'listening' | 'gone', path: string, ms: number): Promise<boolean> {
  const until = performance.now() + ms
  // Each look is a connection that a stopped process will have to accept one day, so they become rarer.
  for (let pause = FIRST_LOOK_MS; ; pause = Math.min(2 * pause, MOST_LOOK_MS)) {
    if ((await isListening(path)) === (wanted === 'listening')) return true
    const left = until - performance.now()
    if (left <= 0) return false
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, left)))
  }
}
