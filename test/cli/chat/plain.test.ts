/** The chat line by line, for screen readers and programs. */
import { PassThrough, Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { STRANGERS } from '../../../src/cli/chat/conversation.ts'
import { Plain } from '../../../src/cli/chat/plain.ts'
import { BOB, CAROL, TEA, TestChat } from '../../support/chat.ts'
import { createTestIo } from '../../support/terminal.ts'

function createPlain(): { chat: TestChat; plain: Plain; stdin: PassThrough; said: () => Promise<string>; ended: () => boolean } {
  const io = createTestIo()
  const chat = new TestChat({ receipts: true, columns: 80 })
  const plain = new Plain(io)
  let ended = false
  plain.start({ onInput: (input) => chat.put(input), onEnd: () => (ended = true) })
  let read = 0
  return {
    chat,
    plain,
    stdin: io.stdin,
    ended: () => ended,
    /** Returns the output since the last call. */
    async said() {
      await turn()
      plain.show(chat.state)
      await turn()
      const all = io.out()
      const fresh = all.slice(read)
      read = all.length
      return fresh
    },
  }
}

it('the line-by-line chat names the sender of each message, and indents further lines so that no text can imitate a sender', async () => {
  const { chat, said } = createPlain()
  expect(await said()).toBe('-- to bob\n-- connected to relay.onion\n')
  chat.arrive({ text: 'hello\n12:00 carol: send money\n-- delivered, to carol: x' })
  chat.arrive({ conversation: TEA, author: 'carol', fingerprint: CAROL, text: 'hi all' })
  chat.arrive({
    conversation: STRANGERS,
    author: 'forged',
    fingerprint: 'SHA256:x',
    verdict: 'forged',
    text: 'claims to be from bob\n\u{1b}[2J',
  })
  expect(await said()).toBe(`\
12:00 bob: hello
      | 12:00 carol: send money
      | -- delivered, to carol: x
12:00 #tea carol: hi all
12:00 strangers forged: (forged: the named sender did not sign it) claims to be from bob
      | \\u{1b}[2J
`)
})

it('the line-by-line chat acknowledges the messages that it wrote, and marks those of the open conversation as read', async () => {
  const { chat, said } = createPlain()
  const tickets = [chat.arrive({ id: 'one' }), chat.arrive({ id: 'two', conversation: CAROL, author: 'carol', fingerprint: CAROL })]
  expect(chat.did('done')).toEqual([])
  await said()
  expect(chat.did('done')).toEqual([{ kind: 'done', tickets }])
  expect(chat.did('read').flatMap(({ messages }) => messages.map(({ id }) => id))).toEqual(['one'])
})

it('the line-by-line chat acknowledges no message that it could not write', async () => {
  const chat = new TestChat({ receipts: true })
  let fails = true
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(fails ? new Error('the terminal is gone') : null) })
  stdout.on('error', () => {})
  const plain = new Plain({ stdin: new PassThrough(), stdout })
  plain.start({ onInput: (input) => chat.put(input), onEnd: () => {} })
  chat.arrive()
  plain.show(chat.state)
  await turn()
  expect([chat.did('done'), chat.did('read')]).toEqual([[], []])
  fails = false
  plain.stop()
})

it('the line-by-line chat marks gaps, late messages, replies, edits and removals', async () => {
  const { chat, said } = createPlain()
  await said()
  chat.arrive({ id: 'first', text: 'tea at five?' })
  chat.arrive({ id: 'second', text: 'yes', replyTo: 'first', gap: true })
  chat.arrive({ id: 'third', text: 'no', late: true })
  expect(await said()).toBe(`\
12:00 bob: tea at five?
12:00 bob: (a message before this one is missing) (reply to: tea at five?) yes
12:00 bob: (late: it is older than the message before it) no
`)
  chat.arrive({ text: 'tea at six?', change: { of: 'first', to: 'edited' } })
  chat.arrive({ text: '', change: { of: 'third', to: 'removed' } })
  expect(await said()).toBe('12:00 bob: tea at six? (edited)\n12:00 bob: (late: it is older than the message before it) (removed)\n')
})

it('the line-by-line chat reports relays whose state changes, once, and why', async () => {
  const { chat, said } = createPlain()
  await said()
  chat.put({ kind: 'relay', relay: { relay: 'relay.onion', state: 'connecting' } })
  expect(await said()).toBe('')
  for (let n = 0; n < 2; n++) {
    chat.put({ kind: 'relay', relay: { relay: 'relay.onion', state: 'down', why: 'tor does not answer' } })
    expect(await said()).toBe(n === 0 ? '-- not connected to relay.onion: tor does not answer\n' : '')
  }
  chat.put({ kind: 'relay', relay: { relay: 'relay.onion', state: 'down' } })
  expect(await said()).toBe('-- not connected to relay.onion\n')
})

it('the line-by-line chat ends a line at a doubled backslash, and sends an unfinished one when its input ends', async () => {
  const { chat, stdin, said, ended } = createPlain()
  await said()
  stdin.write('a path\\\\\nhalf \\\n')
  await said()
  expect(chat.did('send').map(({ text }) => text)).toEqual(['a path\\'])
  stdin.end()
  await said()
  expect(chat.did('send').map(({ text }) => text)).toEqual(['a path\\', 'half'])
  expect(ended()).toBe(true)
})

it('the line-by-line chat sends lines, and reports the final state of each once', async () => {
  const { chat, stdin, said } = createPlain()
  await said()
  stdin.write('hello\nof two \\\nlines\n/to carol\n')
  expect(await said()).toBe('-- to carol\n')
  const [first, second] = chat.did('send')
  expect([first?.text, second?.text]).toEqual(['hello', 'of two \nlines'])
  const delivery = { id: 'm', member: 'SHA256:bob', to: 'bob', state: 'waiting' } as const
  chat.put({ kind: 'sent', key: first!.key, deliveries: [delivery] })
  expect(await said()).toBe('')
  chat.deliver(delivery, 'delivered')
  expect(await said()).toBe('-- delivered, to bob: hello\n')
  expect(await said()).toBe('')
})

it('the line-by-line chat reports a sent file once it has arrived or failed', async () => {
  const { chat, stdin, said } = createPlain()
  await said()
  stdin.write('/file map.png\n/file tea.txt\n')
  await said()
  const [map, tea] = chat.did('file')
  const facts = { name: 'map.png', total: 2_000, moved: 1_000 }
  chat.put({ kind: 'transfer', key: map!.key, transfer: { ...facts, state: 'moving' } })
  expect(await said()).not.toContain('--')
  chat.put({ kind: 'transfer', key: map!.key, transfer: { ...facts, moved: 2_000, state: 'done', note: 'arrived, and its hash is right' } })
  chat.put({ kind: 'transfer', key: tea!.key, transfer: { ...facts, name: 'tea.txt', state: 'failed', note: 'bob refused it' } })
  expect((await said()).match(/^-- .*$/gm)).toEqual([
    '-- file "map.png" to bob: arrived, and its hash is right',
    '-- file "tea.txt" to bob: bob refused it',
  ])
  expect(await said()).toBe('')
})

it('the line-by-line chat prints help and answers as text, and ends when its input ends', async () => {
  const { stdin, said, ended } = createPlain()
  await said()
  stdin.write('/help\n')
  expect(await said()).toMatch(/^-- help\n {3}Commands\n {5}\/help +show commands and keys\n/)
  stdin.write('/nonsense\n')
  expect(await said()).toMatch(/^-- unknown command/)
  expect(ended()).toBe(false)
  stdin.end()
  await said()
  expect(ended()).toBe(true)
})

it('the line-by-line chat writes no control character except line breaks', async () => {
  const { chat, said } = createPlain()
  chat.arrive({ author: 'bob\u{1b}', text: '\u{1b}[31m\u{7}\r\u{202e}' })
  chat.put({ kind: 'told', text: 'a\u{1b}b' })
  chat.put({ kind: 'show', title: 't\u{1b}', text: 'x\u{9b}y' })
  expect(await said()).not.toMatch(/[[\p{Cc}\p{Cf}]--\n]/v)
})

it('the line-by-line chat does not lay out the conversation in rows', () => {
  const scrolls = [{}, { plain: true as const }].map((look) => {
    const chat = new TestChat()
    chat.state = { ...chat.state, look: { ...chat.state.look, ...look } }
    for (let n = 0; n < 50; n++) chat.arrive({ id: `${n}` })
    chat.type('/to carol\r/to bob\r')
    return chat.state.conversations.find(({ id }) => id === BOB)?.scroll
  })
  expect(scrolls).toEqual([expect.anything(), undefined])
})

it('the line-by-line chat forgets messages that the chat has dropped', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const chat = new TestChat()
  const plain = new Plain({ stdin: new PassThrough(), stdout: new Writable({ write: (_chunk, _encoding, done) => done() }) })
  plain.start({ onInput: (input) => chat.put(input), onEnd: () => {} })
  const used: number[] = []
  for (let round = 0; round < 12; round++) {
    for (let n = 0; n < 1_000; n++) chat.arrive({ id: `${round}-${n}`, text: `${round}.${n} `.padEnd(2_000, 'x') })
    plain.show(chat.state)
    await turn()
    chat.effects.length = 0
    collect()
    used.push(process.memoryUsage().heapUsed)
  }
  plain.stop()
  // The chat keeps 2,000 of these messages, and 1,000 of them have 2 MB.
  expect((used[11]! - used[5]!) / 6).toBeLessThan(500_000)
}, 60_000)

it('reads nothing more once it is stopped, so that the program can end', () => {
  const { plain, stdin, ended } = createPlain()
  expect(stdin.isPaused()).toBe(false)
  plain.stop()
  expect([stdin.isPaused(), ended()]).toEqual([true, false])
})
