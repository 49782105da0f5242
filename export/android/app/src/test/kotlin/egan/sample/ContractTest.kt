package egan.sample

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** `egan_example.json` is a contract as `egan-keras export` writes it. */
class ContractTest {
    private val text = checkNotNull(javaClass.getResourceAsStream("/egan_example.json"))
        .bufferedReader().readText()

    @Test
    fun theContractIsRead() {
        val contract = Contract.parse(text)
        assertEquals("egan.tflite", contract.modelFile)
        assertEquals(64, contract.sha256.length)
        assertEquals("images", contract.inputName)
        assertEquals("uint8", contract.dtype)
        assertEquals(listOf(48, 32), listOf(contract.height, contract.width))
        assertEquals(listOf("good"), contract.majority)
        assertEquals(listOf("scratched", "dented"), contract.minority)
        assertEquals(0.25f, contract.tolerance)
        assertEquals(
            listOf(
                GoldenImage("egan_golden/00_majority.png", 1.5f, false),
                GoldenImage("egan_golden/01_minority.png", -3.25f, true),
            ),
            contract.golden,
        )
    }

    @Test
    fun anotherVersionIsRefused() {
        val error = assertThrows(IllegalArgumentException::class.java) {
            Contract.parse(text.replace("\"format_version\": 1", "\"format_version\": 2"))
        }
        assertTrue(error.message!!, "format_version=2" in error.message!!)
    }
}
