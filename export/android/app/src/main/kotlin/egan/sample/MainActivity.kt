package egan.sample

import android.Manifest
import android.os.Bundle
import android.view.Gravity
import android.widget.FrameLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.ImageProxy
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import java.util.concurrent.Executors

/** The camera's picture with the model's decision on it. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var model: EganModel
    private lateinit var preview: PreviewView
    private lateinit var answer: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        model = EganModel(assets)
        preview = PreviewView(this)
        answer = TextView(this).apply {
            gravity = Gravity.CENTER
            textSize = 24f
            setBackgroundColor(0xC0FFFFFF.toInt())
            setTextColor(0xFF000000.toInt())
        }
        val screen = FrameLayout(this)
        screen.addView(preview)
        screen.addView(answer, FrameLayout.LayoutParams(-1, -2, Gravity.CENTER))
        setContentView(screen)
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
            if (granted) startCamera() else answer.text = getString(R.string.camera_needed)
        }.launch(Manifest.permission.CAMERA)
    }

    private fun startCamera() {
        val controller = LifecycleCameraController(this)
        controller.setImageAnalysisAnalyzer(worker, ::analyze)
        controller.bindToLifecycle(this)
        preview.controller = controller
    }

    private fun analyze(frame: ImageProxy) {
        val decision = frame.use {
            model.score(EganModel.upright(it.toBitmap(), it.imageInfo.rotationDegrees))
        }
        val classes = if (decision.isMinority) model.contract.minority else model.contract.majority
        val text = "%s\n%.2f".format(classes.joinToString(" / "), decision.score)
        runOnUiThread { answer.text = text }
    }

    override fun onDestroy() {
        super.onDestroy()
        // After the frame that is being scored, not during it.
        worker.execute(model::close)
        worker.shutdown()
    }
}
