import { expect, test } from 'vitest'
import { ReplyReader } from '../../src/tor/reply.ts'

const BYTES = '250-a=1\r\n250 OK\r\n650 BW 1 2\r\n250+b=\r\n\r\n..\r\n250 no end\r\n.\r\n250 OK\r\n552 no\r\n25'
const REPLIES = [
  { status: '2', lines: ['a=1', 'OK'] },
  { status: '6', lines: ['BW 1 2'] },
  { status: '2', lines: ['b=', '', '.', '250 no end', 'OK'] },
  { status: '5', lines: ['no'] },
]

test.each([1, 2, 3, 7, BYTES.length])('reads the same replies from chunks of %i bytes', (size) => {
  const reader = new ReplyReader()
  const replies = []
  for (let at = 0; at < BYTES.length; at += size) replies.push(...reader.read(BYTES.slice(at, at + size)))
  expect(replies).toEqual(REPLIES)
  expect(reader.isBroken).toBe(false)
})

test.each(['25x OK\r\n', 'OK\r\n', '\r\n', '250OK\r\n', '2'.repeat(70_000), '250-x\r\n'.repeat(10_000)])(
  'returns nothing after a break of the form or the bound: %#',
  (bad) => {
    const reader = new ReplyReader()
    expect(reader.read(`250 OK\r\n${bad}`)).toEqual([{ status: '2', lines: ['OK'] }])
    expect(reader.isBroken).toBe(true)
    expect(reader.read('250 OK\r\n')).toEqual([])
  },
)
