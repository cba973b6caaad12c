#!/usr/bin/env node
/** The program. Shuts the debugger first; the rest takes a while to load. */
import { shutDebugger } from './program/debugger.ts'

shutDebugger()
await import('./process.ts')
