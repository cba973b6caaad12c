/**
 * Prosody's client: logs in (SASL PLAIN) or sends messages to offline accounts, each acknowledged by stream
 * management (XEP-0198), with the least XML possible. Usage: xmpp.ts MODE PORT AMOUNT; MODE is `logins` (for
 * AMOUNT seconds) or `store` (AMOUNT messages). It prints `ready` and begins after a line on standard input.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const OPEN = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>`
const SENDERS = 16
const WINDOW = 64
/** Each run has its own accounts. */
const ACCOUNT = `a${process.pid}`
const PAYLOAD = 'Az09'.repeat(342)

class Stream {
  readonly #socket: Socket
  #heard = ''
  #waiting = Promise.withResolvers<void>()

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    socket.on('data', (text: string) => {
      this.#heard += text
      this.#waiting.resolve()
    })
  }

  static async open(port: number): Promise<Stream> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const stream = new Stream(socket)
    await stream.ask(OPEN, '</stream:features>')
    return stream
  }

  write(text: string): void {
    this.#socket.write(text)
  }

  /** Waits for `end`, and returns everything received until then. */
  async until(end: string): Promise<string> {
    for (;;) {
      const at = this.#heard.indexOf(end)
      if (at !== -1) {
        const text = this.#heard.slice(0, at + end.length)
        this.#heard = this.#heard.slice(at + end.length)
        return text
      }
      if (/<failure|<stream:error|type='error'/.test(this.#heard)) throw new Error('prosody refused')
      this.#waiting = Promise.withResolvers()
      await this.#waiting.promise
    }
  }

  async ask(text: string, end: string): Promise<string> {
    this.write(text)
    return this.until(end)
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function register(port: number, name: string): Promise<void> {
  const stream = await Stream.open(port)
  const query = `<query xmlns='jabber:iq:register'><username>${name}</username><password>secret</password></query>`
  await stream.ask(`<iq type='set' id='r'>${query}</iq>`, "type='result'")
  stream.close()
}

async function logIn(port: number, name: string): Promise<Stream> {
  const stream = await Stream.open(port)
  const plain = Buffer.from(`\0${name}\0secret`).toString('base64')
  await stream.ask(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`, '<success')
  return stream
}

async function logins(port: number, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1_000
  let done = 0
  const work = async (n: number): Promise<void> => {
    while (performance.now() < end) {
      const stream = await logIn(port, `${ACCOUNT}s${n}`)
      stream.close()
      done++
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, n) => work(n)))
  return done
}

async function connectSender(port: number, n: number): Promise<Stream> {
  const stream = await logIn(port, `${ACCOUNT}s${n}`)
  await stream.until('/>').catch(() => '')
  await stream.ask(OPEN, '</stream:features>')
  await stream.ask(`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`, '</iq>')
  await stream.ask(`<enable xmlns='urn:xmpp:sm:3'/>`, '<enabled')
  await stream.until('/>')
  return stream
}

/** Sends a window of messages, then requests the number that arrived. */
async function store(stream: Stream, n: number, messages: number): Promise<void> {
  const one = `<message to='${ACCOUNT}r${n}@localhost' type='chat'><body>${PAYLOAD}</body></message>`
  for (let sent = 0; sent < messages; sent += WINDOW) {
    await stream.ask(one.repeat(Math.min(WINDOW, messages - sent)) + `<r xmlns='urn:xmpp:sm:3'/>`, '<a ')
    await stream.until('/>')
  }
}

const [mode, portText, amountText] = process.argv.slice(2)
const port = Number(portText)
const amount = Number(amountText)
for (let n = 0; n < SENDERS; n++) {
  await register(port, `${ACCOUNT}s${n}`)
  if (mode === 'store') await register(port, `${ACCOUNT}r${n}`)
}
const senders = mode === 'store' ? await Promise.all(Array.from({ length: SENDERS }, (_, n) => connectSender(port, n))) : []
process.stdout.write('ready\n')
await once(process.stdin, 'data')
process.stdin.pause()
const began = performance.now()
let messages = Math.floor(amount / SENDERS) * SENDERS
if (mode === 'store') await Promise.all(senders.map((stream, n) => store(stream, n, messages / SENDERS)))
else messages = await logins(port, amount)
process.stdout.write(`${JSON.stringify({ messages, seconds: (performance.now() - began) / 1_000 })}\n`)
process.exit(0)
