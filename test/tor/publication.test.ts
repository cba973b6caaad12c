/** `publication` says when clients can find an onion service, from the HS_DESC events of tor's control port. */
import { describe, expect, test } from 'vitest'
import { publication } from '../../src/tor/process.ts'

const SERVICE = 'a'.repeat(56)
const event = (action: string, directory: string): string => `HS_DESC ${action} ${SERVICE} UNKNOWN $${directory} descriptor`

/** @returns whether the events end the wait */
async function isPublished(events: readonly string[], enough?: number): Promise<boolean> {
  const { done, onEvent } = publication(enough)
  let published = false
  void done.then(() => (published = true))
  for (const each of events) onEvent(each)
  await Promise.resolve()
  return published
}

describe('the publication of a descriptor', () => {
  const begun = [event('UPLOAD', 'A'), event('UPLOAD', 'B')]
  test('ends with the last upload that has begun', async () => {
    expect(await isPublished([...begun, event('UPLOADED', 'A')])).toBe(false)
    expect(await isPublished([...begun, event('UPLOADED', 'A'), event('UPLOADED', 'B')])).toBe(true)
    expect(await isPublished([...begun, event('UPLOADED', 'A'), event('FAILED', 'B')])).toBe(true)
  })

  test('needs one upload that succeeds', async () => {
    expect(await isPublished([...begun, event('FAILED', 'A'), event('FAILED', 'B')])).toBe(false)
  })

  test('does not count uploads that began before', async () => {
    const earlier = event('UPLOADED', 'C')
    expect(await isPublished([earlier])).toBe(false)
    expect(await isPublished([...begun, earlier, event('UPLOADED', 'A'), event('UPLOADED', 'B')])).toBe(true)
    expect(await isPublished([...begun, earlier, event('UPLOADED', 'A')])).toBe(false)
  })

  test('waits for both descriptors that go to one directory', async () => {
    const both = [event('UPLOAD', 'A'), event('UPLOAD', 'A'), event('UPLOADED', 'A')]
    expect(await isPublished(both)).toBe(false)
    expect(await isPublished([...both, event('UPLOADED', 'A')])).toBe(true)
  })

  test('ends early if a few uploads are sufficient', async () => {
    expect(await isPublished([...begun, event('UPLOADED', 'A')], 1)).toBe(true)
  })
})
