/** The chat's full-screen terminal, played by the test: it is set up at the start and restored on every way out. */
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { ReadStream, WriteStream } from 'node:tty'
import { describe, expect, it } from 'vitest'
import { FullScreen } from '../../../src/cli/chat/fullscreen.ts'
import type { Input } from '../../../src/cli/chat/input.ts'
import { TestChat } from '../../support/chat.ts'

const MAIN_SCREEN = '\u{1b}[?1049l'
const OTHER_SCREEN = '\u{1b}[?1049h'

function createFullScreen() {
  const raw: boolean[] = []
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) })
  let written = ''
  const stdout = Object.assign(new PassThrough(), { isTTY: true, rows: 10, columns: 40 })
  stdout.on('data', (chunk: Buffer) => (written += chunk.toString()))
  let stops = 0
  const host = Object.assign(new EventEmitter(), { stop: () => stops++ })
  const inputs: Input[] = []
  let ends = 0
  const screen = new FullScreen({ stdin: stdin as unknown as ReadStream, stdout: stdout as unknown as WriteStream }, host, {
    color: true,
    mouse: false,
    modern: true,
  })
  screen.start({ onInput: (input) => inputs.push(input), onEnd: () => ends++ })
  return { screen, stdin, stdout, host, inputs, raw, written: () => written, ends: () => ends, stops: () => stops }
}

describe('the full-screen terminal', () => {
  it.each(['uncaughtException', 'unhandledRejection', 'exit'])('is restored before anything is printed at %s', (event) => {
    const { host, written, raw } = createFullScreen()
    expect(written()).toContain(OTHER_SCREEN)
    let first = false
    host.prependListener(event, () => {})
    host.on(event, () => (first = written().endsWith(MAIN_SCREEN)))
    host.emit(event)
    expect(first).toBe(true)
    expect(raw).toEqual([true, false])
  })

  it('is restored while the process is suspended', () => {
    const { host, written, raw, screen, stops, inputs } = createFullScreen()
    screen.suspend()
    expect(written().endsWith(MAIN_SCREEN)).toBe(true)
    expect(stops()).toBe(1)
    expect(host.listenerCount('SIGTSTP')).toBe(0)
    host.emit('SIGCONT')
    expect(raw).toEqual([true, false, true])
    expect(written().lastIndexOf(OTHER_SCREEN)).toBeGreaterThan(written().lastIndexOf(MAIN_SCREEN))
    expect(host.listenerCount('SIGTSTP')).toBe(1)
    expect(inputs.at(-1)).toEqual({ kind: 'resize', size: { rows: 10, columns: 40 } })
  })

  it('shows a text alone, wrapped by the terminal, until a key is pressed', async () => {
    const { screen, stdin, written, inputs } = createFullScreen()
    screen.alone('x'.repeat(60))
    expect(written().endsWith(`\u{1b}[?7h${'x'.repeat(60)}\r\n-- any key returns to the chat`)).toBe(true)
    const before = inputs.length
    screen.show(new TestChat().state)
    await new Promise((resolve) => setImmediate(resolve))
    expect(written()).toMatch(/returns to the chat$/)
    stdin.write('q')
    await new Promise((resolve) => setImmediate(resolve))
    expect(written()).toContain('returns to the chat\u{1b}[?7l')
    expect(inputs.slice(before)).toEqual([{ kind: 'resize', size: { rows: 10, columns: 40 } }])
  })

  it('ends the chat at SIGHUP', () => {
    const { host, ends } = createFullScreen()
    host.emit('SIGHUP')
    expect(ends()).toBe(1)
  })

  it('removes all its listeners at the end', () => {
    const { host, screen, stdin } = createFullScreen()
    screen.stop()
    expect(host.eventNames()).toEqual([])
    expect(stdin.listenerCount('data')).toBe(0)
  })

  it('tells its size at the start', () => {
    const { inputs } = createFullScreen()
    expect(inputs).toEqual([{ kind: 'resize', size: { rows: 10, columns: 40 } }])
  })

  it('passes on keys, a lone Esc after a pause, and new sizes', async () => {
    const { stdin, stdout, inputs } = createFullScreen()
    inputs.length = 0
    stdin.write('a\u{1b}')
    await expect
      .poll(() => inputs)
      .toEqual([
        { kind: 'text', text: 'a' },
        { kind: 'key', chord: 'escape' },
      ])
    stdout.columns = 80
    stdout.emit('resize')
    expect(inputs.at(-1)).toEqual({ kind: 'resize', size: { rows: 10, columns: 80 } })
  })

  it('reports which messages are on the screen once it has drawn them', async () => {
    const { screen, inputs, written } = createFullScreen()
    const chat = new TestChat()
    chat.arrive({ text: 'the kettle' })
    inputs.length = 0
    screen.show(chat.state)
    await expect.poll(() => inputs).toEqual([{ kind: 'drawn', keys: [1] }])
    expect(written()).toContain('the kettle')
  })
})
