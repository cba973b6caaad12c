import { expect, test } from 'vitest'
import { CLIENT_CAPS } from '../../src/protocol/limits.ts'
import { Unacknowledged } from '../../src/protocol/unacknowledged.ts'

const HALF = CLIENT_CAPS.bytes / 2

test('the bytes of all messages are bounded, and each end of a message makes room', () => {
  const ends: readonly ((all: Unacknowledged) => void)[] = [(all) => all.remove('a'), (all) => all.clear('x'), (all) => all.clear()]
  for (const end of ends) {
    const all = new Unacknowledged()
    all.add('a', HALF, 'x')
    all.add('b', HALF, '')
    end(all)
    all.add('c', HALF, '')
    expect(() => {
      for (const id of ['d', 'e']) all.add(id, HALF, '')
    }).toThrow('too-much')
  }
})

test('the count of all copies is bounded, and a copy that is removed leaves the others', () => {
  const all = new Unacknowledged()
  for (let n = 0; n < CLIENT_CAPS.messages; n++) all.add('same', 1, '')
  all.remove('same')
  all.remove('unknown')
  all.add('same', 1, '')
  expect(() => all.add('same', 1, '')).toThrow('too-much')
})
