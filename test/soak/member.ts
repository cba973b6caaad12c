/** A person of a soak: a profile on the disk, and the client that runs on it as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ASFALEIA } from '../support/process.ts'
import type { Order, Told } from './bot.ts'
import type { Ledger } from './ledger.ts'
import type { Answer, Word } from './probe.ts'
import { type Live, type Sample, sample } from './sample.ts'

export interface Place {
  /** The folder of the soak, with the scripts that {@link prepare} in run.ts writes. */
  readonly folder: string
  readonly ledger: Ledger
  /** Called with each line of a client that is no text, file or receipt. */
  readonly onNote: (note: string) => void
}

export interface Text {
  readonly id: string
  readonly to: string
  readonly text: string
  readonly isReply: boolean
}

/** The name of a file is its id, and a text begins with `[ID]`. */
const FILE_NAME = /^(f-p\d+-p\d+-\d+)\.bin$/
const STATE = /^-- (held|delivered|read|failed|unconfirmed)(.*), to p\d+: \[(p\d+-p\d+-\d+)\]/
const SHOWN = /^\d\d:\d\d (p\d+): (.*?)(\[(p\d+-p\d+-\d+)\][^[\]]*)$/
const FILE = /^-- file "[^"]+" of p\d+: (?:in (.*)|.*)$/
const ARRIVED = /^-- file "(f-p\d+-p\d+-\d+)\.bin" to p\d+: arrived, and its hash is right$/

const [NODE, MAIN] = ASFALEIA
/** How long a client may take to start or to end, ms. */
const PATIENCE_MS = 120_000

export class Member {
  readonly name: string
  readonly kind: 'chat' | 'bot'
  /** Whether the soak kills this client now and then. */
  readonly isMortal: boolean
  readonly home: string
  readonly files: string
  readonly samples: Sample[] = []
  readonly live: Live[] = []
  starts = 0
  texts = { sent: 0, shown: 0 }
  readonly #place: Place
  #child: ChildProcess | undefined
  #closed: Promise<unknown> = Promise.resolve()
  #isEnding = false
  #stderr = ''
  #onReady = (): void => {}
  /** Questions to the probe that it has not answered, the oldest first. */
  #asked: ((answer: Answer) => void)[] = []
  /** The people who wrote to this life of the client. */
  #heard = new Set<string>()

  constructor(name: string, kind: Member['kind'], isMortal: boolean, place: Place) {
    this.name = name
    this.kind = kind
    this.isMortal = isMortal
    this.#place = place
    this.home = join(place.folder, name)
    this.files = join(place.folder, `${name}-files`)
  }

  get isUp(): boolean {
    return this.#child !== undefined && !this.#isEnding
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  hasHeard(name: string): boolean {
    return this.#heard.has(name)
  }

  /** Starts the client, and waits until it is connected. */
  async start(): Promise<void> {
    this.starts++
    this.#isEnding = false
    this.#stderr = ''
    this.#heard = new Set()
    this.#asked = []
    const { folder } = this.#place
    const program =
      this.kind === 'chat'
        ? [MAIN, 'chat', '--plain', '--files', this.files]
        : [join(folder, 'bot.mjs'), join(MAIN, '../../client/index.js'), this.files]
    const child = spawn(NODE, ['--expose-gc', '--import', join(folder, 'probe.mjs'), ...program], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: '', ASFALEIA_HOME: this.home, ASFALEIA_SOCKS: 'off' },
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    })
    this.#child = child
    const killAtExit = (): void => void child.kill('SIGKILL')
    process.once('exit', killAtExit)
    child.stdin!.on('error', () => {})
    let rest = ''
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.#onLine(line)
    })
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (this.#stderr = (this.#stderr + chunk).slice(-2_000)))
    child.on('message', (answer: Answer) => this.#asked.shift()?.(answer))
    this.#closed = once(child, 'close').then(([code, signal]) => {
      process.off('exit', killAtExit)
      this.#child = undefined
      if (!this.#isEnding || (code !== 0 && signal !== 'SIGKILL'))
        this.#place.ledger.fail(`the ${this.kind} of ${this.name} ended with ${code ?? signal}: ${this.#stderr.trim()}`)
    })
    await patiently(`the start of ${this.name}`, new Promise<void>((resolve) => (this.#onReady = resolve)))
  }

  send({ id, to, text, isReply }: Text): void {
    this.texts.sent++
    if (this.kind === 'bot') return this.#order({ kind: 'text', id, to, text, isReply })
    this.#write(`/to ${to}\n${isReply ? '/reply ' : ''}${text.replaceAll('\n', '\\\n')}\n`)
  }

  sendFile(to: string, path: string): void {
    if (this.kind === 'bot') this.#order({ kind: 'file', to, path })
    else this.#write(`/to ${to}\n/file ${path}\n`)
  }

  /** Kills the client at once, and waits until all of its output was read. */
  async kill(): Promise<void> {
    this.#isEnding = true
    this.#child?.kill('SIGKILL')
    await this.#closed
    this.#place.ledger.died(this.name)
  }

  /** Ends the client as a user does. */
  async end(): Promise<void> {
    this.#isEnding = true
    this.#child?.kill('SIGTERM')
    await patiently(`the end of ${this.name}`, this.#closed)
  }

  sample(at: number): void {
    const found = this.pid === undefined ? undefined : sample(this.pid, at)
    if (found !== undefined) this.samples.push(found)
  }

  /** Has the client collect garbage, and notes the memory that is in use. */
  async collect(at: number): Promise<void> {
    const answer = await this.#ask({ kind: 'collect' })
    if (answer?.kind === 'live') this.live.push({ at, live: answer.live })
  }

  async snapshot(path: string): Promise<void> {
    await this.#ask({ kind: 'snapshot', path })
  }

  #ask(word: Word): Promise<Answer | undefined> {
    const child = this.#child
    if (child === undefined || !child.connected) return Promise.resolve(undefined)
    return Promise.race([
      new Promise<Answer>((resolve) => {
        this.#asked.push(resolve)
        child.send(word, () => {})
      }),
      this.#closed.then(() => undefined),
    ])
  }

  #order(order: Order): void {
    this.#write(`${JSON.stringify(order)}\n`)
  }

  #write(text: string): void {
    this.#child?.stdin?.write(text)
  }

  #onLine(line: string): void {
    if (this.kind === 'bot') this.#onTold(JSON.parse(line) as Told)
    else this.#onChatLine(line)
  }

  #onTold(told: Told): void {
    switch (told.kind) {
      case 'ready':
        return this.#onReady()
      case 'state':
        return this.#onState(told.id, told.state, '')
      case 'shown': {
        const [, id = ''] = /^\[(.*?)\]/.exec(told.text) ?? []
        return this.#onShown(id, told.from, (content) => content === told.text, told.gap, told.late)
      }
      case 'file':
        return this.#onFile(told.path)
      case 'note':
        return this.#place.onNote(told.text)
    }
  }

  #onChatLine(line: string): void {
    const [, state, why = '', sent] = STATE.exec(line) ?? []
    if (state !== undefined) return this.#onState(sent!, state, why)
    const [, from, marks, first, id] = SHOWN.exec(line) ?? []
    if (from !== undefined)
      return this.#onShown(
        id!,
        from,
        (content) => content.split('\n')[0] === first,
        marks!.includes('(a message before'),
        marks!.includes('(late:'),
      )
    const [, arrived] = ARRIVED.exec(line) ?? []
    if (arrived !== undefined) return this.#place.ledger.confirmed(arrived)
    const [, path] = FILE.exec(line) ?? []
    if (path !== undefined) return this.#onFile(path)
    if (line.startsWith('-- connected to')) this.#onReady()
    // Neither the opened conversation, a further line of a text, nor a file on its way is news.
    if (/^(?:-- to | {6}\||\d\d:\d\d .*\(file ")/.test(line)) return
    this.#place.onNote(line)
  }

  #onState(id: string, state: string, why: string): void {
    const { ledger } = this.#place
    if (state === 'held') ledger.held(id)
    else if (state === 'delivered' || state === 'read') ledger.confirmed(id)
    else ledger.fail(`${id}: ${state}${why}`)
  }

  #onShown(id: string, from: string, isRight: (content: string) => boolean, gap: boolean, late: boolean): void {
    const { ledger } = this.#place
    this.texts.shown++
    this.#heard.add(from)
    if (gap) ledger.remarks.gap++
    if (late) ledger.remarks.late++
    ledger.shown(id, this.name, isRight)
  }

  #onFile(path: string): void {
    const [, id] = FILE_NAME.exec(path.slice(this.files.length + 1)) ?? []
    if (id === undefined) this.#place.ledger.fail(`${this.name} has a file of another name: ${path}`)
    else this.#place.ledger.shown(id, this.name)
  }
}

/** @throws {Error} if it takes too long */
async function patiently<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${PATIENCE_MS / 1_000} s`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
