import { expect, it } from 'vitest'
import { Names } from '../../src/relay/names.ts'

const [OLD, NEW, OTHER] = ['old.onion', 'new.onion', 'other.onion']

it('the names to keep come before those that the relay is leaving', () => {
  expect(new Names([NEW, 'localhost'], [OLD]).all).toEqual([NEW, 'localhost', OLD])
})

it('only a client at a name that the relay is leaving gets the new one, which is an onion address', () => {
  const names = new Names(['localhost', NEW], [OLD])
  expect([OLD, NEW, 'localhost', OTHER].map((name) => names.movedTo(name))).toEqual([NEW, undefined, undefined, undefined])
  expect(new Names(['localhost'], [OLD]).movedTo(OLD)).toBeUndefined()
})

it('a name takes the place of one that the relay no longer has', () => {
  const names = new Names([OLD, 'localhost'], [])
  names.add(NEW, OLD, [])
  expect(names.all).toEqual([NEW, 'localhost'])
  names.add(OTHER, undefined, [])
  expect(names.all).toEqual([NEW, 'localhost', OTHER])
})

it('a name that is added again stays single, and one that comes back is no longer left', () => {
  const names = new Names([NEW], [OLD])
  names.add(NEW, undefined, [OTHER])
  expect(names.all).toEqual([NEW, OLD, OTHER])
  expect(names.movedTo(OTHER)).toBe(NEW)
  names.add(OTHER, undefined, [OTHER])
  expect(names.all).toEqual([NEW, OTHER, OLD])
  expect(names.movedTo(OTHER)).toBeUndefined()
})

it('a name that another program reports as left is left only as long as it is reported', () => {
  const names = new Names([NEW], [])
  names.add(NEW, undefined, [OLD])
  expect(names.movedTo(OLD)).toBe(NEW)
  names.add(NEW, undefined, [])
  expect(names.all).toEqual([NEW])
  expect(names.movedTo(OLD)).toBeUndefined()
})
