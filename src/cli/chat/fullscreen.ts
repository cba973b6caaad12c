/**
 * The chat on the whole screen of a terminal. It puts the terminal into raw mode, and restores it in every case: when
 * the user leaves, on signals and unexpected errors, and while the process is suspended.
 */
import type { ReadStream, WriteStream } from 'node:tty'
import type { Front } from './front.ts'
import { KeyDecoder, type KeyInput } from './keys.ts'
import type { Size } from './geometry.ts'
import type { Input } from './input.ts'
import type { State } from './state.ts'
import { Screen, type ScreenOptions } from './screen.ts'
import { widthOf } from './text.ts'
import { view } from './view.ts'

/** Below a text that is shown alone. */
const ALONE_END = '-- any key returns to the chat'
/** Bytes that follow an ESC within this time belong to its sequence, ms. On a slower line, Alt keys are misread. */
const ESCAPE_MS = 50

/** The parts of the process that a terminal needs. */
export interface Host {
  on(event: string, listener: () => void): unknown
  prependListener(event: string, listener: () => void): unknown
  off(event: string, listener: () => void): unknown
  /** Stops the process group, as the terminal's driver does for Ctrl-Z. */
  stop(): void
}

export class FullScreen implements Front {
  readonly #stdin: ReadStream
  readonly #stdout: WriteStream
  readonly #host: Host
  readonly #screen: Screen
  readonly #decoder = new KeyDecoder()
  #onInput: (input: Input) => void = () => {}
  #onEnd: () => void = () => {}
  #timer: NodeJS.Timeout | undefined
  /** The newest state that is not drawn yet, and whether a frame is being written. */
  #next: State | undefined
  #drawing = false
  #scheduled: NodeJS.Immediate | undefined
  #stopped = false
  /** Whether a text is shown alone. */
  #isAlone = false

  constructor(streams: { readonly stdin: ReadStream; readonly stdout: WriteStream }, host: Host, options: ScreenOptions) {
    this.#stdin = streams.stdin
    this.#stdout = streams.stdout
    this.#host = host
    this.#screen = new Screen({ write: (text, done) => streams.stdout.write(text, () => done?.()) }, options)
  }

  start({ onInput, onEnd }: Parameters<Front['start']>[0]): void {
    this.#onInput = onInput
    this.#onEnd = onEnd
    this.#take()
    this.#stdin.on('data', this.#onData)
    this.#stdin.on('end', this.#onClosed).on('error', this.#onClosed)
    this.#stdout.on('resize', this.#onResize)
    this.#host.on('exit', this.#giveBack)
    // First, because the error is printed next, and the alternate screen would swallow it.
    for (const event of ['uncaughtException', 'unhandledRejection']) this.#host.prependListener(event, this.#giveBack)
    this.#host.on('SIGHUP', this.#onClosed)
    this.#host.on('SIGTSTP', this.#onSuspend)
    this.#host.on('SIGCONT', this.#onContinue)
    this.#onResize()
  }

  show(state: State): void {
    this.#next = state
    if (this.#drawing || this.#stopped) return
    this.#scheduled ??= setImmediate(() => this.#draw())
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    clearImmediate(this.#scheduled)
    this.#giveBack()
    this.#stdin.off('data', this.#onData).off('end', this.#onClosed).off('error', this.#onClosed)
    this.#stdin.pause()
    this.#stdout.off('resize', this.#onResize)
    for (const event of ['exit', 'uncaughtException', 'unhandledRejection']) this.#host.off(event, this.#giveBack)
    this.#host.off('SIGHUP', this.#onClosed)
    this.#host.off('SIGTSTP', this.#onSuspend)
    this.#host.off('SIGCONT', this.#onContinue)
  }

  notify(): void {
    this.#screen.notify()
  }

  alone(text: string): void {
    const { rows, columns } = sizeOf(this.#stdout)
    // The alternate screen keeps nothing that scrolls out of it, so the text ends with the last line that fits.
    let room = Math.max(1, rows - 2)
    const lines: string[] = []
    for (const line of text.split('\n')) {
      room -= Math.max(1, Math.ceil(widthOf(line) / columns))
      if (room < 0 && lines.length > 0) break
      lines.push(line)
    }
    this.#isAlone = true
    this.#screen.alone(`${lines.join('\n')}\n${ALONE_END}`)
  }

  redraw(): void {
    this.#screen.forget()
  }

  suspend(): void {
    this.#giveBack()
    // Without a listener, the signal has its default effect.
    this.#host.off('SIGTSTP', this.#onSuspend)
    this.#host.stop()
  }

  #draw(): void {
    this.#scheduled = undefined
    const state = this.#next
    if (state === undefined || this.#stopped || this.#isAlone || !this.#screen.entered) return
    this.#next = undefined
    this.#drawing = true
    const frame = view(state)
    this.#screen.draw(frame, () => {
      this.#drawing = false
      if (frame.drawn.length > 0) this.#onInput({ kind: 'drawn', keys: frame.drawn })
      if (this.#next !== undefined) this.show(this.#next)
    })
  }

  #take(): void {
    this.#stdin.setRawMode(true)
    this.#stdin.resume()
    this.#isAlone = false
    this.#screen.enter()
  }

  readonly #giveBack = (): void => {
    if (!this.#screen.entered) return
    this.#screen.leave()
    try {
      this.#stdin.setRawMode(false)
    } catch {
      // The terminal is gone.
    }
  }

  readonly #onData = (chunk: Buffer | string): void => {
    clearTimeout(this.#timer)
    const inputs = this.#decoder.push(Buffer.from(chunk))
    if (this.#isAlone) return this.#endAlone(inputs)
    for (const input of inputs) this.#onInput(input)
    if (this.#decoder.pending) {
      this.#timer = setTimeout(() => {
        for (const input of this.#decoder.flush()) this.#onInput(input)
      }, ESCAPE_MS)
    }
  }

  /** Any key ends it, and does nothing else. */
  #endAlone(inputs: readonly KeyInput[]): void {
    this.#decoder.flush()
    if (inputs.length > 0 && inputs.every(({ kind }) => kind === 'focus' || kind === 'mouse')) return
    this.#isAlone = false
    this.#screen.resume()
    this.#onResize()
  }

  readonly #onClosed = (): void => {
    this.#onEnd()
  }

  readonly #onResize = (): void => {
    this.#screen.forget()
    this.#onInput({ kind: 'resize', size: sizeOf(this.#stdout) })
  }

  readonly #onSuspend = (): void => {
    this.suspend()
  }

  readonly #onContinue = (): void => {
    if (this.#stopped) return
    this.#host.off('SIGTSTP', this.#onSuspend)
    this.#host.on('SIGTSTP', this.#onSuspend)
    if (!this.#screen.entered) this.#take()
    this.#onResize()
  }
}

function sizeOf({ rows, columns }: WriteStream): Size {
  return { rows: rows || 24, columns: columns || 80 }
}
