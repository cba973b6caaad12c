/** Connections for sending to many routes: those without a use go. */
import { expect, test } from 'vitest'
import type { Outgoing } from '../../../src/client/messenger/outgoing.ts'
import { Routes } from '../../../src/client/messenger/routes.ts'

/** Makes routes of which all but the given ones are idle. @returns the routes that were made since */
function makeRoutes(count: number, busy: readonly string[]): { readonly routes: Routes; readonly made: string[] } {
  const made: string[] = []
  const routes = new Routes((route) => {
    made.push(route)
    return { isIdle: !busy.includes(route) } as Outgoing
  })
  for (let i = 0; i < count; i++) routes.on(`relay ${i}`)
  made.length = 0
  return { routes, made }
}

test('64 routes stay, and no message is asked for them', () => {
  const { routes, made } = makeRoutes(64, [])
  routes.sweep(() => {
    throw new Error('asked')
  })
  routes.on('relay 0')
  expect(made).toEqual([])
})

test('of 65 routes those stay that a message uses or that are busy', () => {
  const { routes, made } = makeRoutes(65, ['relay 1'])
  routes.sweep(() => new Set(['relay 0']))
  for (const route of ['relay 0', 'relay 1', 'relay 2', 'relay 64']) routes.on(route)
  expect(made).toEqual(['relay 2', 'relay 64'])
})
