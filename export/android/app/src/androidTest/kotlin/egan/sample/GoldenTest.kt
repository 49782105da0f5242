package egan.sample

import android.graphics.BitmapFactory
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** On the phone, the model must answer as it did in Python when it was exported. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    @Test
    fun goldenImagesScoreAsInPython() {
        val assets = InstrumentationRegistry.getInstrumentation().targetContext.assets
        EganModel(assets).use { model ->
            assertTrue("The JSON lists no golden images", model.contract.golden.isNotEmpty())
            for (golden in model.contract.golden) {
                val bitmap = assets.open(golden.file).use(BitmapFactory::decodeStream)
                val decision = model.score(bitmap)
                assertEquals(golden.file, golden.score, decision.score, model.contract.tolerance)
                assertEquals(golden.file, golden.isMinority, decision.isMinority)
            }
        }
    }
}
