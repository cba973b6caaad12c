import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { FREE, MessageTable, NONE } from '../../src/mailbox/message-table.ts'

it('a freed row holds no bytes of its message: neither its id nor the connection that had it', () => {
  const table = new MessageTable<string>(randomBytes)
  const row = table.allocate('m')
  table.setId(row, { high: 0x1234_5678, low: 0x9abc_def0 })
  table.rows.owner[row] = 7
  table.rows.lease[row] = 2
  table.free(row)
  const { idHigh, idLow, owner, lease } = table.rows
  expect([idHigh[row], idLow[row], owner[row], lease[row], table.boxes[row]]).toEqual([0, 0, 0, FREE, undefined])
})

it('a row is used again, and a reference to its former message finds nothing', () => {
  const table = new MessageTable<string>(randomBytes)
  const row = table.allocate('m')
  const former = table.reference(row)
  expect(table.find(former)).toBe(row)
  table.free(row)
  expect(table.find(former)).toBeUndefined()
  expect(table.allocate('n')).toBe(row)
  expect(table.find(former)).toBeUndefined()
  expect(table.find(table.reference(row))).toBe(row)
})

it('a table that grows keeps its rows, and each id is 64 bits of its own', () => {
  const drawn: Buffer[] = []
  const table = new MessageTable<number>((size) => {
    drawn.push(randomBytes(size))
    return Buffer.from(drawn.at(-1)!)
  })
  const rows = Array.from({ length: 3_000 }, (_, n) => {
    const row = table.allocate(n)
    table.drawId(row)
    table.rows.next[row] = NONE
    table.rows.expires[row] = n
    return row
  })
  const all = Buffer.concat(drawn)
  for (const [n, row] of rows.entries()) {
    expect(table.id(row)).toEqual({ high: all.readUInt32BE(n * 8), low: all.readUInt32BE(n * 8 + 4) })
    expect([table.boxes[row], table.rows.next[row], table.rows.expires[row]]).toEqual([n, NONE, n])
  }
  expect(new Set(rows).size).toBe(3_000)
})
